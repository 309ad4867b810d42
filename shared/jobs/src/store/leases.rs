//! Leases: kept, lost and looked at.

use std::time::Duration;

use bulkhead_kernel::ids::{JobId, LeaseToken};
use bulkhead_tenancy::DbError;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{attempt, count, millis};
use crate::outcome::Attempt;

/// A job whose lease ran out.
pub(crate) struct ExpiredRow {
    pub(crate) id: JobId,
    pub(crate) kind: String,
    pub(crate) queue: String,
    pub(crate) attempt: Attempt,
    pub(crate) lost_leases: u16,
}

/// Extends the leases that still hold and gives their tokens. A row that somebody has locked is left alone, since its
/// lock protects it: it counts as held.
pub(crate) async fn extend(
    conn: &mut PgConnection,
    held: &[(JobId, LeaseToken)],
    lease: Duration,
) -> Result<Vec<LeaseToken>, DbError> {
    let (jobs, tokens): (Vec<Uuid>, Vec<Uuid>) = held.iter().map(|(job, token)| (job.uuid(), token.uuid())).unzip();
    let tokens = sqlx::query_scalar!(
        r#"
        WITH held AS (
            SELECT id
            FROM control.jobs
            WHERE (id, lease_token) IN (SELECT id, token FROM unnest($1::uuid[], $2::uuid[]) AS mine (id, token))
            FOR UPDATE SKIP LOCKED
        ), extended AS (
            UPDATE control.jobs AS j
            SET lease_until = now() + $3::bigint * interval '1 millisecond'
            FROM held
            WHERE j.id = held.id
        )
        SELECT lease_token AS "token!"
        FROM control.jobs
        WHERE (id, lease_token) IN (SELECT id, token FROM unnest($1::uuid[], $2::uuid[]) AS mine (id, token))
        "#,
        &jobs,
        &tokens,
        millis(lease),
    )
    .fetch_all(conn)
    .await?;
    Ok(tokens.into_iter().map(LeaseToken::from).collect())
}

/// Locks jobs whose lease ran out, the longest overdue first. One whose effects are being committed right now is locked
/// by [`hold`] and not found.
pub(crate) async fn lock_expired(conn: &mut PgConnection, limit: i64) -> Result<Vec<ExpiredRow>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT id, kind, queue, lease_token AS "lease_token!", attempt, max_attempts, lost_leases
        FROM control.jobs
        WHERE state = 'running'
          AND lease_until < now()
        ORDER BY lease_until
        LIMIT $1
        FOR UPDATE SKIP LOCKED
        "#,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let expired = rows.into_iter().map(|row| ExpiredRow {
        id: row.id.into(),
        kind: row.kind,
        queue: row.queue,
        attempt: attempt(row.attempt, row.max_attempts, row.lease_token.into()),
        lost_leases: count(row.lost_leases),
    });
    Ok(expired.collect())
}

/// Keeps the lease from being taken until the transaction ends; [`DbError::LeaseLost`] when it already was.
pub(crate) async fn hold(conn: &mut PgConnection, job: JobId, token: LeaseToken) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        SELECT control.hold_lease($1, $2)::text AS nothing
        "#,
        job.uuid(),
        token.uuid(),
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// Those of the leases whose jobs somebody wants ended.
pub(crate) async fn list_cancelled(
    conn: &mut PgConnection,
    held: &[(JobId, LeaseToken)],
) -> Result<Vec<LeaseToken>, DbError> {
    let jobs: Vec<Uuid> = held.iter().map(|(job, _)| job.uuid()).collect();
    let tokens = sqlx::query_scalar!(
        r#"
        SELECT lease_token AS "token!"
        FROM control.jobs
        WHERE id = ANY ($1)
          AND lease_token IS NOT NULL
          AND cancel_requested_at IS NOT NULL
        "#,
        &jobs,
    )
    .fetch_all(conn)
    .await?;
    Ok(tokens.into_iter().map(LeaseToken::from).collect())
}
