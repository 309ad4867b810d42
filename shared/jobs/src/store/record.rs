//! What an attempt has to say while it runs.

use bulkhead_kernel::ids::{JobId, LeaseToken};
use bulkhead_tenancy::DbError;
use serde_json::Value;
use sqlx::PgConnection;

/// The most events of one job after which no more lines of its log are kept.
const MAX_EVENTS: i32 = 1_000;

/// Tells how far the attempt is; [`DbError::LeaseLost`] when it has the job no more.
pub(crate) async fn note_progress(
    conn: &mut PgConnection,
    job: JobId,
    token: LeaseToken,
    done: i64,
    total: Option<i64>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        SELECT control.note_progress($1, $2, $3, $4)::text AS nothing
        "#,
        job.uuid(),
        token.uuid(),
        done,
        total,
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// Adds a line to the job's log; [`DbError::LeaseLost`] when the attempt has the job no more.
pub(crate) async fn log(
    conn: &mut PgConnection,
    job: JobId,
    token: LeaseToken,
    level: &str,
    message: &str,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        SELECT control.log_job($1, $2, $3, $4, $5)::text AS nothing
        "#,
        job.uuid(),
        token.uuid(),
        level,
        message,
        MAX_EVENTS,
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// Keeps what the job came to; [`DbError::LeaseLost`] when the attempt has the job no more.
pub(crate) async fn set_result(
    conn: &mut PgConnection,
    job: JobId,
    token: LeaseToken,
    result: &Value,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        SELECT control.set_job_result($1, $2, $3)::text AS nothing
        "#,
        job.uuid(),
        token.uuid(),
        result,
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}
