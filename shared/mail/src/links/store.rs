//! Rows of `control.mail_links`.

use bulkhead_kernel::ids::IdentityId;
use bulkhead_tenancy::{ControlTx, DbError};
use chrono::{DateTime, Utc};

use super::Purpose;

pub(super) async fn insert(
    tx: &mut ControlTx,
    secret_hash: &[u8; 32],
    identity: IdentityId,
    purpose: Purpose,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO control.mail_links (secret_hash, identity_id, purpose, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5)
        "#,
        secret_hash,
        identity.uuid(),
        purpose.as_str(),
        now,
        expires_at,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn find(
    tx: &mut ControlTx,
    secret_hash: &[u8; 32],
    purpose: Purpose,
    now: DateTime<Utc>,
) -> Result<Option<IdentityId>, DbError> {
    let identity = sqlx::query_scalar!(
        r#"
        SELECT identity_id
        FROM control.mail_links
        WHERE secret_hash = $1
          AND purpose = $2
          AND expires_at > $3
        "#,
        secret_hash,
        purpose.as_str(),
        now,
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(identity.map(IdentityId::from))
}

pub(super) async fn delete(
    tx: &mut ControlTx,
    secret_hash: &[u8; 32],
    purpose: Purpose,
    now: DateTime<Utc>,
) -> Result<Option<IdentityId>, DbError> {
    let identity = sqlx::query_scalar!(
        r#"
        DELETE
        FROM control.mail_links
        WHERE secret_hash = $1
          AND purpose = $2
          AND expires_at > $3
        RETURNING identity_id
        "#,
        secret_hash,
        purpose.as_str(),
        now,
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(identity.map(IdentityId::from))
}

pub(super) async fn delete_all(tx: &mut ControlTx, identity: IdentityId, purpose: Purpose) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        DELETE
        FROM control.mail_links
        WHERE identity_id = $1
          AND purpose = $2
        "#,
        identity.uuid(),
        purpose.as_str(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete_expired(tx: &mut ControlTx, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        DELETE
        FROM control.mail_links
        WHERE expires_at <= $1
        "#,
        now,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
