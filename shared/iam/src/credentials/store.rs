//! What proves somebody's identity, in rows of `control.identities`.

use bulkhead_kernel::{email::Email, ids::IdentityId};
use bulkhead_tenancy::{ControlTx, DbError};
use chrono::{DateTime, Utc};

/// Who may get mail about their account.
pub(super) struct Account {
    pub(super) identity: IdentityId,
    pub(super) is_email_verified: bool,
}

/// The active person with this address.
pub(super) async fn find_account(tx: &mut ControlTx, email: &Email) -> Result<Option<Account>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT id, email_verified_at IS NOT NULL AS "is_email_verified!"
        FROM control.identities
        WHERE email = $1
          AND status = 'active'
        "#,
        email.as_str(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| Account {
        identity: row.id.into(),
        is_email_verified: row.is_email_verified,
    }))
}

/// The person's address and the hash of their password.
pub(super) async fn find_password(
    tx: &mut ControlTx,
    identity: IdentityId,
) -> Result<Option<(String, Option<String>)>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT email, password_hash
        FROM control.identities
        WHERE id = $1
          AND status = 'active'
        "#,
        identity.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| (row.email, row.password_hash)))
}

/// The first time counts.
pub(super) async fn set_email_verified(
    tx: &mut ControlTx,
    identity: IdentityId,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.identities
        SET email_verified_at = coalesce(email_verified_at, $2), updated_at = $2
        WHERE id = $1
        "#,
        identity.uuid(),
        now,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn set_password(
    tx: &mut ControlTx,
    identity: IdentityId,
    password_hash: &str,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.identities
        SET password_hash = $2, updated_at = $3
        WHERE id = $1
        "#,
        identity.uuid(),
        password_hash,
        now,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Keeps the person's password as it is until the transaction ends. No if it is another one by now.
pub(super) async fn lock_password(
    tx: &mut ControlTx,
    identity: IdentityId,
    password_hash: Option<&str>,
) -> Result<bool, DbError> {
    let found = sqlx::query_scalar!(
        r#"
        SELECT id
        FROM control.identities
        WHERE id = $1
          AND status = 'active'
          AND password_hash IS NOT DISTINCT FROM $2
            FOR UPDATE
        "#,
        identity.uuid(),
        password_hash,
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(found.is_some())
}
