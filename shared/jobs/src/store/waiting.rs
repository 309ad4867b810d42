//! Jobs that wait: their time, their tenants, and who gives up on them or does not.

use bulkhead_kernel::ids::{JobId, TenantId};
use bulkhead_tenancy::DbError;
use sqlx::PgConnection;

use crate::outcome::State;

/// A job that is dead without having been started.
pub(crate) struct Died {
    pub(crate) id: JobId,
    pub(crate) kind: String,
    pub(crate) queue: String,
}

/// Marks jobs whose time has come, those that waited longest first, at most `limit`, and gives how many.
pub(crate) async fn make_due(conn: &mut PgConnection, limit: i64) -> Result<u64, DbError> {
    let due = sqlx::query!(
        r#"
        WITH due AS MATERIALIZED (
            SELECT id
            FROM control.jobs
            WHERE state = 'queued'
              AND NOT is_due
              AND NOT is_parked
              AND run_at <= now()
            ORDER BY run_at
            LIMIT $1
            FOR UPDATE SKIP LOCKED
        )
        UPDATE control.jobs AS j
        SET is_due = true
        FROM due
        WHERE j.id = due.id
        "#,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(due.rows_affected())
}

/// Ends waiting jobs whose deadline has passed, at most `limit`.
pub(crate) async fn bury_overdue(conn: &mut PgConnection, error: &str, limit: i64) -> Result<Vec<Died>, DbError> {
    let rows = sqlx::query!(
        r#"
        WITH overdue AS MATERIALIZED (
            SELECT id
            FROM control.jobs
            WHERE state = 'queued'
              AND deadline_at IS NOT NULL
              AND deadline_at <= now()
            ORDER BY deadline_at
            LIMIT $1
            FOR UPDATE SKIP LOCKED
        )
        UPDATE control.jobs AS j
        SET state       = 'dead',
            last_error  = $2,
            finished_at = now()
        FROM overdue
        WHERE j.id = overdue.id
        RETURNING j.id, j.kind, j.queue
        "#,
        limit,
        error,
    )
    .fetch_all(conn)
    .await?;
    let died = rows.into_iter().map(|row| Died {
        id: row.id.into(),
        kind: row.kind,
        queue: row.queue,
    });
    Ok(died.collect())
}

/// Ends a waiting job, or asks the worker of a running one to. The state it is in now; `None` when it does not exist.
pub(crate) async fn cancel(conn: &mut PgConnection, job: JobId) -> Result<Option<State>, DbError> {
    let state = sqlx::query_scalar!(
        r#"
        SELECT control.cancel_job($1) AS state
        "#,
        job.uuid(),
    )
    .fetch_one(conn)
    .await?;
    Ok(state.as_deref().and_then(State::parse))
}

/// Gives a dead or cancelled job all its attempts again. The state it is in now; `None` when it does not exist.
pub(crate) async fn retry(conn: &mut PgConnection, job: JobId) -> Result<Option<State>, DbError> {
    let state = sqlx::query_scalar!(
        r#"
        SELECT control.retry_job($1) AS state
        "#,
        job.uuid(),
    )
    .fetch_one(conn)
    .await?;
    Ok(state.as_deref().and_then(State::parse))
}

/// Parks or frees waiting jobs of the tenant, at most `limit`, and gives how many. A job that somebody is about to run is
/// passed over, and one that no worker knows stays parked.
pub(crate) async fn set_parked(
    conn: &mut PgConnection,
    tenant: TenantId,
    is_parked: bool,
    limit: i64,
) -> Result<u64, DbError> {
    let changed = sqlx::query!(
        r#"
        UPDATE control.jobs
        SET is_parked = $2
        WHERE id IN (SELECT id
                     FROM control.jobs
                     WHERE tenant_id = $1
                       AND state = 'queued'
                       AND is_parked <> $2
                       AND NOT is_unknown
                     LIMIT $3 FOR UPDATE SKIP LOCKED)
        "#,
        tenant.uuid(),
        is_parked,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(changed.rows_affected())
}
