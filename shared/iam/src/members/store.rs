//! Rows of `members`, `member_roles` and what they join.

use bulkhead_kernel::{
    email::Email,
    ids::{IdentityId, SessionId, TenantId},
    page::{Page, PageRequest},
};
use bulkhead_tenancy::{Db, DbError, Message, OwnerTx, TenantTx};
use chrono::{DateTime, Utc};
use sqlx::Row;

use super::{Authority, Member};
use crate::{
    permissions::{PermissionSet, SystemRole},
    search::Search,
};

/// Who somebody is in the tenant and what that allows, in one statement for one message. Between the pieces stand the
/// session, the time and the identity. Lists are joined by characters that their items cannot have. There are no joins
/// in it because the statement is planned anew each time, and planning a join takes longer than the rest.
pub const AUTHORITY_SQL: [&str; 4] = [
    "SELECT m.email, m.first_name, m.last_name, control.is_session_live(",
    ", ",
    ") AS is_session_live, \
     (SELECT string_agg(r.name, chr(10) ORDER BY r.name) FROM roles AS r \
      WHERE r.id = ANY (ARRAY(SELECT g.role_id FROM member_roles AS g WHERE g.identity_id = m.identity_id))) AS roles, \
     (SELECT string_agg(p.permission, ' ') FROM role_permissions AS p \
      WHERE p.role_id = ANY (ARRAY(SELECT g.role_id FROM member_roles AS g WHERE g.identity_id = m.identity_id))) \
     AS permissions \
     FROM members AS m WHERE m.status = 'active' AND m.identity_id = ",
    "",
];

/// The authority of an active member, and whether the session lives.
pub(super) async fn find_authority(
    db: &Db,
    tenant: TenantId,
    identity: IdentityId,
    session: SessionId,
    now: DateTime<Utc>,
) -> Result<Option<(Authority, bool)>, DbError> {
    let [select, comma, from, end] = AUTHORITY_SQL;
    let message = Message::new().sql(select).uuid(session.uuid()).sql(comma).time(now);
    let message = message.sql(from).uuid(identity.uuid()).sql(end);
    let results = db.read(tenant, &message).await?;
    let Some(row) = results.first().and_then(|rows| rows.first()) else {
        return Ok(None);
    };
    let roles: Option<String> = row.try_get(4)?;
    let permissions: Option<String> = row.try_get(5)?;
    let authority = Authority {
        email: row.try_get(0)?,
        first_name: row.try_get(1)?,
        last_name: row.try_get(2)?,
        roles: roles
            .iter()
            .flat_map(|names| names.split('\n'))
            .map(str::to_owned)
            .collect(),
        permissions: PermissionSet::from_ids(permissions.iter().flat_map(|ids| ids.split(' '))),
    };
    Ok(Some((authority, row.try_get(3)?)))
}

/// One page of members by address, of those whose address or name contains what is searched for.
pub(super) async fn list(
    tx: &mut TenantTx,
    search: Option<&Search>,
    page: PageRequest,
) -> Result<Page<Member>, DbError> {
    let pattern = search.map(Search::pattern);
    let total = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "total!"
        FROM members AS m
        WHERE $1::text IS NULL
           OR m.email ILIKE $1
           OR m.first_name || ' ' || m.last_name ILIKE $1
        "#,
        pattern,
    )
    .fetch_one(tx.conn())
    .await?;
    let rows = sqlx::query!(
        r#"
        SELECT m.identity_id,
               m.email,
               m.first_name,
               m.last_name,
               m.status = 'active'   AS "is_active!",
               ARRAY(SELECT r.name
                     FROM member_roles AS g
                              JOIN roles AS r ON r.id = g.role_id
                     WHERE g.identity_id = m.identity_id
                     ORDER BY r.name) AS "roles!",
               m.version
        FROM members AS m
        WHERE $1::text IS NULL
           OR m.email ILIKE $1
           OR m.first_name || ' ' || m.last_name ILIKE $1
        ORDER BY m.email
        LIMIT $2 OFFSET $3
        "#,
        pattern,
        i64::from(page.limit()),
        page.offset(),
    )
    .fetch_all(tx.conn())
    .await?;
    let items = rows.into_iter().map(|row| Member {
        id: row.identity_id.into(),
        email: row.email,
        first_name: row.first_name,
        last_name: row.last_name,
        is_active: row.is_active,
        roles: row.roles,
        version: row.version,
    });
    Ok(Page {
        items: items.collect(),
        total,
        request: page,
    })
}

/// One member; `None` for who is none.
pub(super) async fn find(tx: &mut TenantTx, id: IdentityId) -> Result<Option<Member>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT m.email,
               m.first_name,
               m.last_name,
               m.status = 'active'   AS "is_active!",
               ARRAY(SELECT r.name
                     FROM member_roles AS g
                              JOIN roles AS r ON r.id = g.role_id
                     WHERE g.identity_id = m.identity_id
                     ORDER BY r.name) AS "roles!",
               m.version
        FROM members AS m
        WHERE m.identity_id = $1
        "#,
        id.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| Member {
        id,
        email: row.email,
        first_name: row.first_name,
        last_name: row.last_name,
        is_active: row.is_active,
        roles: row.roles,
        version: row.version,
    }))
}

/// Whether an active member has this address.
pub(super) async fn is_active(tx: &mut TenantTx, email: &Email) -> Result<bool, DbError> {
    let is_there = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (SELECT FROM members WHERE email = $1 AND status = 'active') AS "is_there!"
        "#,
        email.as_str(),
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(is_there)
}

/// Writes the member as they are to be, new or again. Their version rises when the turn ends.
pub(super) async fn upsert(tx: &mut TenantTx, member: &Member, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO members (identity_id, email, first_name, last_name, status, version, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, 0, $6, $6)
        ON CONFLICT (identity_id) DO UPDATE SET first_name = EXCLUDED.first_name,
                                                last_name  = EXCLUDED.last_name,
                                                status     = EXCLUDED.status,
                                                updated_at = EXCLUDED.updated_at
        "#,
        member.id.uuid(),
        member.email,
        member.first_name,
        member.last_name,
        if member.is_active { "active" } else { "inactive" },
        now,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Removes the member and their roles, and the tenant from what they may choose.
pub(super) async fn delete(tx: &mut TenantTx, id: IdentityId) -> Result<(), DbError> {
    let is_at_home = tx.is_at_home();
    sqlx::query!(
        r#"
        DELETE
        FROM members
        WHERE identity_id = $1
        "#,
        id.uuid(),
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        r#"
        SELECT CASE
                   WHEN $2 THEN control.set_membership($1, 'none', 'removed')
                   ELSE control.await_membership($1, 'none', 'removed') END AS deleted
        "#,
        id.uuid(),
        is_at_home,
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(())
}

/// Copies the person into the tenant whose schema the transaction has entered.
pub(super) async fn insert(tx: &mut OwnerTx, identity: IdentityId) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO members (identity_id, email, first_name, last_name)
        SELECT i.id, i.email, i.first_name, i.last_name
        FROM control.identities AS i
        WHERE i.id = $1
        ON CONFLICT (identity_id) DO NOTHING
        "#,
        identity.uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Copies the person from `home` into the tenant whose schema the transaction has entered.
pub(super) async fn insert_of(home: &mut OwnerTx, tx: &mut OwnerTx, identity: IdentityId) -> Result<(), DbError> {
    let person = sqlx::query!(
        r#"
        SELECT email, first_name, last_name
        FROM control.identities
        WHERE id = $1
        "#,
        identity.uuid(),
    )
    .fetch_one(home.conn())
    .await?;
    sqlx::query!(
        r#"
        INSERT INTO members (identity_id, email, first_name, last_name)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (identity_id) DO NOTHING
        "#,
        identity.uuid(),
        person.email,
        person.first_name,
        person.last_name,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Gives the member a system role.
pub(super) async fn insert_grant(tx: &mut OwnerTx, identity: IdentityId, role: SystemRole) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO member_roles (identity_id, role_id)
        SELECT $1, r.id
        FROM roles AS r
        WHERE r.name = $2
          AND r.is_system
        ON CONFLICT (identity_id, role_id) DO NOTHING
        "#,
        identity.uuid(),
        role.as_str(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// What a member is called here, and what the person is called by now: given name, family name.
pub(super) struct Names {
    pub(super) before: [String; 2],
    pub(super) after: [String; 2],
}

/// Kept as they are until the transaction ends.
pub(super) async fn lock_names(tx: &mut TenantTx, identity: IdentityId) -> Result<Option<Names>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT m.first_name, m.last_name, n.first_name AS "new_first_name!", n.last_name AS "new_last_name!"
        FROM members AS m
                 CROSS JOIN control.member_names(m.identity_id) AS n
        WHERE m.identity_id = $1
            FOR UPDATE OF m
        "#,
        identity.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| Names {
        before: [row.first_name, row.last_name],
        after: [row.new_first_name, row.new_last_name],
    }))
}

/// The same of a tenant that is away from home: what the member is called there.
pub(super) async fn lock_own_names(tx: &mut TenantTx, identity: IdentityId) -> Result<Option<[String; 2]>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT first_name, last_name
        FROM members
        WHERE identity_id = $1
            FOR UPDATE
        "#,
        identity.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| [row.first_name, row.last_name]))
}

pub(super) async fn set_names(
    tx: &mut TenantTx,
    identity: IdentityId,
    [first_name, last_name]: &[String; 2],
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE members
        SET first_name = $2, last_name = $3, version = version + 1, updated_at = $4
        WHERE identity_id = $1
        "#,
        identity.uuid(),
        first_name,
        last_name,
        now,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
