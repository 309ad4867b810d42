//! Rows of `invitations` and `invitation_roles`.

use bulkhead_kernel::{
    ids::{IdentityId, InvitationId, RoleId},
    page::PageRequest,
};
use bulkhead_tenancy::{DbError, TenantTx};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Invitation, InvitedRole, NewInvitation, Status};
use crate::{identities::PersonName, search::Search};

/// A row as it is kept.
struct Row {
    id: Uuid,
    email: String,
    state: String,
    version: i64,
    invited_by: Uuid,
    granted_by: Uuid,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    closed_at: Option<DateTime<Utc>>,
}

impl Row {
    fn at(self, now: DateTime<Utc>) -> Invitation {
        // The column has a check; a word that only a later release knows is of nothing that waits.
        let stored = self.state.parse().unwrap_or(Status::Revoked);
        Invitation {
            id: self.id.into(),
            email: self.email,
            roles: Vec::new(),
            status: stored.at(now, self.expires_at),
            version: self.version,
            invited_by: self.invited_by.into(),
            granted_by: self.granted_by.into(),
            created_at: self.created_at,
            expires_at: self.expires_at,
            closed_at: self.closed_at,
        }
    }
}

/// One invitation; `None` where there is none.
pub(super) async fn find(
    tx: &mut TenantTx,
    id: InvitationId,
    now: DateTime<Utc>,
) -> Result<Option<Invitation>, DbError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT id, email, state, version, invited_by, granted_by, created_at, expires_at, closed_at
        FROM invitations
        WHERE id = $1
        "#,
        id.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    let mut found: Vec<_> = row.into_iter().map(|row| row.at(now)).collect();
    add_roles(tx, &mut found).await?;
    Ok(found.pop())
}

/// One page, the newest first, and how many there are in all.
pub(super) async fn list(
    tx: &mut TenantTx,
    status: Option<Status>,
    search: Option<&Search>,
    page: PageRequest,
    now: DateTime<Utc>,
) -> Result<(Vec<Invitation>, i64), DbError> {
    let (status, pattern) = (status.map(Status::as_str), search.map(Search::pattern));
    let total = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "total!"
        FROM invitations
        WHERE ($1::text IS NULL OR CASE WHEN state = 'pending' AND expires_at <= $2 THEN 'expired' ELSE state END = $1)
          AND ($3::text IS NULL OR email ILIKE $3)
        "#,
        status,
        now,
        pattern,
    )
    .fetch_one(tx.conn())
    .await?;
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, email, state, version, invited_by, granted_by, created_at, expires_at, closed_at
        FROM invitations
        WHERE ($1::text IS NULL OR CASE WHEN state = 'pending' AND expires_at <= $2 THEN 'expired' ELSE state END = $1)
          AND ($3::text IS NULL OR email ILIKE $3)
        ORDER BY created_at DESC, id DESC
        LIMIT $4 OFFSET $5
        "#,
        status,
        now,
        pattern,
        i64::from(page.limit()),
        page.offset(),
    )
    .fetch_all(tx.conn())
    .await?;
    let mut items: Vec<_> = rows.into_iter().map(|row| row.at(now)).collect();
    add_roles(tx, &mut items).await?;
    Ok((items, total))
}

/// Gives each of these invitations its roles, by name.
async fn add_roles(tx: &mut TenantTx, invitations: &mut [Invitation]) -> Result<(), DbError> {
    let ids: Vec<Uuid> = invitations.iter().map(|invitation| invitation.id.uuid()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT g.invitation_id, g.role_id, r.name AS "name?"
        FROM invitation_roles AS g
                 LEFT JOIN roles AS r ON r.id = g.role_id
        WHERE g.invitation_id = ANY ($1)
        ORDER BY r.name, g.role_id
        "#,
        &ids,
    )
    .fetch_all(tx.conn())
    .await?;
    for row in rows {
        let id = InvitationId::from(row.invitation_id);
        if let Some(invitation) = invitations.iter_mut().find(|invitation| invitation.id == id) {
            invitation.roles.push(InvitedRole {
                id: row.role_id.into(),
                name: row.name,
            });
        }
    }
    Ok(())
}

/// How many invitations wait.
pub(super) async fn count_pending(tx: &mut TenantTx, now: DateTime<Utc>) -> Result<i64, DbError> {
    let n_pending = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "n_pending!"
        FROM invitations
        WHERE state = 'pending'
          AND expires_at > $1
        "#,
        now,
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(n_pending)
}

/// Makes room for a newer invitation where one for this address has expired.
pub(super) async fn set_expired(tx: &mut TenantTx, email: &str, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE invitations
        SET state = 'expired', closed_at = $2, version = version + 1
        WHERE email = $1
          AND state = 'pending'
          AND expires_at <= $2
        "#,
        email,
        now,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    id: InvitationId,
    new: &NewInvitation,
    by: IdentityId,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO invitations (id, email, invited_by, granted_by, created_at, expires_at)
        VALUES ($1, $2, $3, $3, $4, $5)
        "#,
        id.uuid(),
        new.email.as_str(),
        by.uuid(),
        now,
        new.lifetime.from(now),
    )
    .execute(tx.conn())
    .await?;
    set_roles(tx, id, &new.roles).await
}

/// Makes these all its roles.
pub(super) async fn set_roles(tx: &mut TenantTx, id: InvitationId, roles: &[RoleId]) -> Result<(), DbError> {
    let roles: Vec<Uuid> = roles.iter().map(|role| role.uuid()).collect();
    sqlx::query!(
        r#"
        DELETE
        FROM invitation_roles
        WHERE invitation_id = $1
          AND role_id <> ALL ($2)
        "#,
        id.uuid(),
        &roles,
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        r#"
        INSERT INTO invitation_roles (invitation_id, role_id)
        SELECT $1, wanted.role_id
        FROM unnest($2::uuid[]) AS wanted (role_id)
        ON CONFLICT (invitation_id, role_id) DO NOTHING
        "#,
        id.uuid(),
        &roles,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// From now on this member answers for it.
pub(super) async fn set_granter(tx: &mut TenantTx, id: InvitationId, by: IdentityId) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE invitations
        SET granted_by = $2, version = version + 1
        WHERE id = $1
        "#,
        id.uuid(),
        by.uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Ends what mails so far carry, and gives the number of the next.
pub(super) async fn set_resent(
    tx: &mut TenantTx,
    id: InvitationId,
    by: IdentityId,
    expires_at: DateTime<Utc>,
) -> Result<i32, DbError> {
    let generation = sqlx::query_scalar!(
        r#"
        UPDATE invitations
        SET granted_by    = $2,
            expires_at    = $3,
            generation    = generation + 1,
            secret_hashes = '{}',
            version       = version + 1
        WHERE id = $1
        RETURNING generation
        "#,
        id.uuid(),
        by.uuid(),
        expires_at,
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(generation)
}

/// Ends one that waits; `false` where it does not any more. Of several at once, one ends it.
pub(super) async fn set_closed(
    tx: &mut TenantTx,
    id: InvitationId,
    state: Status,
    accepted_by: Option<IdentityId>,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        r#"
        UPDATE invitations
        SET state = $2, accepted_by = $3, closed_at = $4, version = version + 1
        WHERE id = $1
          AND state = 'pending'
        "#,
        id.uuid(),
        state.as_str(),
        accepted_by.map(IdentityId::uuid),
        now,
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What the secrets of its mails hash to.
pub(super) async fn find_secret_hashes(tx: &mut TenantTx, id: InvitationId) -> Result<Option<Vec<Vec<u8>>>, DbError> {
    let hashes = sqlx::query_scalar!(
        r#"
        SELECT secret_hashes
        FROM invitations
        WHERE id = $1
        "#,
        id.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(hashes)
}

/// Adds the secret of one more copy of this mail, and tells where it goes. `None` where there is no such mail to send any
/// more.
pub(super) async fn add_secret(
    tx: &mut TenantTx,
    id: InvitationId,
    generation: i32,
    hash: &[u8],
    now: DateTime<Utc>,
) -> Result<Option<String>, DbError> {
    let email = sqlx::query_scalar!(
        r#"
        UPDATE invitations
        SET secret_hashes = secret_hashes || $3::bytea
        WHERE id = $1
          AND generation = $2
          AND state = 'pending'
          AND expires_at > $4
        RETURNING email
        "#,
        id.uuid(),
        generation,
        hash,
        now,
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(email)
}

/// Makes an identity with a verified address; `None` where somebody has the address. The transaction is at home: the tenant's
/// own where it lives there.
pub(super) async fn insert_identity(
    conn: &mut PgConnection,
    email: &str,
    password_hash: &str,
    [first_name, last_name]: [&PersonName; 2],
    now: DateTime<Utc>,
) -> Result<Option<IdentityId>, DbError> {
    let id = sqlx::query_scalar!(
        r#"
        SELECT control.create_invited_identity($1, $2, $3, $4, $5) AS id
        "#,
        email,
        password_hash,
        first_name.as_str(),
        last_name.as_str(),
        now,
    )
    .fetch_one(conn)
    .await?;
    Ok(id.map(IdentityId::from))
}
