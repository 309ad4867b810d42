//! Idempotency keys in the database.

use bulkhead_kernel::ids::TenantId;
use bulkhead_tenancy::{ControlTx, DbError, TenantTx};
use chrono::{DateTime, Utc};
use serde_json::Value;

/// Principal, route and key.
pub(super) type KeyOf<'a> = (&'a str, &'a str, &'a str);

/// Takes an idempotency key; `false` when it is taken, after waiting for the one that may be taking it.
pub(super) async fn insert(
    tx: &mut TenantTx,
    (principal, route, key): KeyOf<'_>,
    hash: &[u8],
    status: i16,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        r#"
        INSERT INTO idempotency_keys (principal, route, key, request_hash, status, body, created_at)
        VALUES ($1, $2, $3, $4, $5, 'null', $6)
        ON CONFLICT (principal, route, key) DO NOTHING
        "#,
        principal,
        route,
        key,
        hash,
        status,
        now,
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The hash of the request that took the key, and its answer.
pub(super) async fn get(tx: &mut TenantTx, (principal, route, key): KeyOf<'_>) -> Result<(Vec<u8>, Value), DbError> {
    let row = sqlx::query!(
        r#"
        SELECT request_hash, body
        FROM idempotency_keys
        WHERE principal = $1
          AND route = $2
          AND key = $3
        "#,
        principal,
        route,
        key,
    )
    .fetch_one(tx.conn())
    .await?;
    Ok((row.request_hash, row.body))
}

/// Stores the answer under a key this transaction took.
pub(super) async fn set_answer(
    tx: &mut TenantTx,
    (principal, route, key): KeyOf<'_>,
    location: &str,
    body: &Value,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE idempotency_keys
        SET location = $4,
            body     = $5
        WHERE principal = $1
          AND route = $2
          AND key = $3
        "#,
        principal,
        route,
        key,
        location,
        body,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Removes at most `limit` keys that were taken before this time, and gives how many.
pub(super) async fn delete_old(tx: &mut TenantTx, before: DateTime<Utc>, limit: i64) -> Result<u64, DbError> {
    let done = sqlx::query!(
        r#"
        DELETE FROM idempotency_keys
        WHERE (principal, route, key) IN (SELECT principal, route, key
                                          FROM idempotency_keys
                                          WHERE created_at < $1
                                          LIMIT $2)
        "#,
        before,
        limit,
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected())
}

/// Tenants that are built and not on their way out, in the order of their ids.
pub(super) async fn list_tenants(
    tx: &mut ControlTx,
    after: Option<TenantId>,
    limit: i64,
) -> Result<Vec<TenantId>, DbError> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT id
        FROM control.tenants
        WHERE status IN ('active', 'suspended')
          AND ($1::uuid IS NULL OR id > $1)
        ORDER BY id
        LIMIT $2
        "#,
        after.map(TenantId::uuid),
        limit,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(ids.into_iter().map(TenantId::from).collect())
}
