//! Rows of `control.identities`.

use bulkhead_kernel::{
    email::Email,
    ids::{IdentityId, SessionId},
};
use bulkhead_tenancy::{ControlTx, DbError};
use chrono::{DateTime, Utc};

use super::{Credentials, Identity, PersonName, Rename, model::Claimed};
use crate::Person;

/// Inserts the person unless the address is known. A known row is written over with itself, so that the commit has as
/// much to make durable in one case as in the other and its duration tells nothing. The id is random: whoever adds the
/// address to a tenant sees it, and a time in it would tell since when the address is known.
pub(super) async fn insert_unless_known(
    tx: &mut ControlTx,
    email: &Email,
    password_hash: &str,
    [first_name, last_name]: [&PersonName; 2],
    now: DateTime<Utc>,
) -> Result<Claimed, DbError> {
    let row = sqlx::query!(
        r#"
        INSERT INTO control.identities AS i (id, email, password_hash, first_name, last_name, created_at, updated_at)
        VALUES (gen_random_uuid(), $1, $2, $3, $4, $5, $5)
        ON CONFLICT (email) DO UPDATE SET updated_at = i.updated_at
        RETURNING id, xmax = 0 AS "is_new!"
        "#,
        email.as_str(),
        password_hash,
        first_name.as_str(),
        last_name.as_str(),
        now,
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(Claimed {
        identity: row.id.into(),
        is_new: row.is_new,
    })
}

/// The same for somebody who is added by others and has no password yet. `forgets_unproved` takes the password from an
/// account whose address nobody proved: a stranger may have registered it to wait for just this.
pub(super) async fn insert_without_password(
    tx: &mut ControlTx,
    email: &Email,
    [first_name, last_name]: [&PersonName; 2],
    forgets_unproved: bool,
    now: DateTime<Utc>,
) -> Result<Claimed, DbError> {
    let row = sqlx::query!(
        r#"
        INSERT INTO control.identities AS i (id, email, first_name, last_name, created_at, updated_at)
        VALUES (gen_random_uuid(), $1, $2, $3, $4, $4)
        ON CONFLICT (email) DO UPDATE
            SET updated_at    = i.updated_at,
                password_hash = CASE
                    WHEN $5 AND i.email_verified_at IS NULL THEN NULL
                    ELSE i.password_hash END
        RETURNING id, xmax = 0 AS "is_new!"
        "#,
        email.as_str(),
        first_name.as_str(),
        last_name.as_str(),
        now,
        forgets_unproved,
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(Claimed {
        identity: row.id.into(),
        is_new: row.is_new,
    })
}

/// Inserts somebody with a verified address, unless the address is known.
pub(super) async fn insert_verified(
    tx: &mut ControlTx,
    email: &Email,
    password_hash: &str,
    now: DateTime<Utc>,
) -> Result<Claimed, DbError> {
    let row = sqlx::query!(
        r#"
        INSERT INTO control.identities AS i (id, email, password_hash, first_name, last_name, email_verified_at, created_at,
                                             updated_at)
        VALUES ($1, $2, $3, 'Platform', 'Operator', $4, $4, $4)
        ON CONFLICT (email) DO UPDATE SET updated_at = i.updated_at
        RETURNING id, xmax = 0 AS "is_new!"
        "#,
        IdentityId::new().uuid(),
        email.as_str(),
        password_hash,
        now,
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(Claimed {
        identity: row.id.into(),
        is_new: row.is_new,
    })
}

pub(super) async fn find(tx: &mut ControlTx, id: IdentityId) -> Result<Option<Identity>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT i.id,
               i.email,
               i.first_name,
               i.last_name,
               i.status = 'active'             AS "is_active!",
               EXISTS (SELECT
                       FROM control.operators AS o
                       WHERE o.identity_id = i.id
                         AND o.status = 'active') AS "is_operator!",
               i.email_verified_at IS NOT NULL AS "is_email_verified!"
        FROM control.identities AS i
        WHERE i.id = $1
        "#,
        id.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| Identity {
        id: row.id.into(),
        email: row.email,
        first_name: row.first_name,
        last_name: row.last_name,
        is_active: row.is_active,
        is_operator: row.is_operator,
        is_email_verified: row.is_email_verified,
    }))
}

pub(super) async fn find_credentials(tx: &mut ControlTx, email: &Email) -> Result<Option<Credentials>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT id,
               password_hash,
               status = 'active'             AS "is_active!",
               email_verified_at IS NOT NULL AS "is_email_verified!"
        FROM control.identities
        WHERE email = $1
        "#,
        email.as_str(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| Credentials {
        identity: row.id.into(),
        password_hash: row.password_hash,
        is_active: row.is_active,
        is_email_verified: row.is_email_verified,
    }))
}

/// The person of a session, while both live.
pub(super) async fn find_principal(
    tx: &mut ControlTx,
    identity: IdentityId,
    session: SessionId,
    now: DateTime<Utc>,
) -> Result<Option<Person>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT i.email, i.first_name, i.last_name
        FROM control.identities AS i
                 JOIN control.sessions AS s ON s.identity_id = i.id
        WHERE i.id = $1
          AND i.status = 'active'
          AND s.id = $2
          AND s.revoked_at IS NULL
          AND s.expires_at > $3
        "#,
        identity.uuid(),
        session.uuid(),
        now,
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| Person {
        identity,
        session,
        email: row.email,
        first_name: row.first_name,
        last_name: row.last_name,
    }))
}

pub(super) async fn set_names(
    tx: &mut ControlTx,
    id: IdentityId,
    names: &Rename,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.identities
        SET first_name = coalesce($2, first_name), last_name = coalesce($3, last_name), updated_at = $4
        WHERE id = $1
        "#,
        id.uuid(),
        names.first_name.as_ref().map(PersonName::as_str),
        names.last_name.as_ref().map(PersonName::as_str),
        now,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
