//! Rows of `control.signing_keys`.

use bulkhead_tenancy::{ControlTx, DbError};
use chrono::{DateTime, Utc};

use super::model::Times;
use crate::tokens::PublicKey;

/// A key as it is kept.
pub(super) struct Stored {
    pub(super) times: Times,
    pub(super) public: PublicKey,
    pub(super) wrapped: Option<Vec<u8>>,
}

/// Whoever wants to change them waits here for whoever does; reading goes on.
pub(super) async fn lock(tx: &mut ControlTx) -> Result<(), DbError> {
    sqlx::query!("LOCK TABLE control.signing_keys IN SHARE ROW EXCLUSIVE MODE")
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// All keys, also those that are retired, in the order in which they sign.
pub(super) async fn list(tx: &mut ControlTx) -> Result<Vec<Stored>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT id, modulus, exponent, wrapped, activates_at, retires_at
        FROM control.signing_keys
        ORDER BY activates_at, id
        "#,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Stored {
            public: PublicKey {
                id: row.id.clone(),
                modulus: row.modulus,
                exponent: row.exponent,
            },
            times: Times {
                id: row.id,
                activates_at: row.activates_at,
                retires_at: row.retires_at,
            },
            wrapped: row.wrapped,
        })
        .collect())
}

pub(super) async fn insert(tx: &mut ControlTx, key: &Stored, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO control.signing_keys (id, modulus, exponent, wrapped, announced_at, activates_at, retires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        "#,
        key.times.id,
        key.public.modulus,
        key.public.exponent,
        key.wrapped.as_deref(),
        now,
        key.times.activates_at,
        key.times.retires_at,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// A successor takes over at `activates_at`: those before it retire, those announced for later never sign.
pub(super) async fn set_succeeded(
    tx: &mut ControlTx,
    activates_at: DateTime<Utc>,
    retires_at: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        DELETE
        FROM control.signing_keys
        WHERE activates_at >= $1
        "#,
        activates_at,
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        r#"
        UPDATE control.signing_keys
        SET retires_at = least(retires_at, $1)
        WHERE retires_at IS NULL
           OR retires_at > $1
        "#,
        retires_at,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Removes the private halves of keys that are retired, and gives how many these were.
pub(super) async fn clear_retired(tx: &mut ControlTx, now: DateTime<Utc>) -> Result<u64, DbError> {
    let done = sqlx::query!(
        r#"
        UPDATE control.signing_keys
        SET wrapped = NULL
        WHERE retires_at <= $1
          AND wrapped IS NOT NULL
        "#,
        now,
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected())
}
