//! What is removed.

use bulkhead_tenancy::{ControlTx, DbError};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Removes at most `limit` jobs: the dead that ended before `dead`, and others that ended before `done`. Ids are made of the
/// time, and a job ends after it was made; so the oldest ids are enough to look at, and no index is kept for this alone.
pub(super) async fn delete_finished(
    tx: &mut ControlTx,
    done: DateTime<Utc>,
    dead: DateTime<Utc>,
    limit: i64,
) -> Result<u64, DbError> {
    let removed = sqlx::query!(
        r#"
        DELETE FROM control.jobs
        WHERE id IN (SELECT id
                     FROM control.jobs
                     WHERE id < $1
                       AND finished_at < CASE state WHEN 'dead' THEN $2::timestamptz ELSE $3::timestamptz END
                     ORDER BY id
                     LIMIT $4 FOR UPDATE SKIP LOCKED)
        "#,
        first_id_at(done.max(dead)),
        dead,
        done,
        limit,
    )
    .execute(tx.conn())
    .await?;
    Ok(removed.rows_affected())
}

/// No id that was made before this time is greater (`UUIDv7`, RFC 9562).
fn first_id_at(time: DateTime<Utc>) -> Uuid {
    let millis = u128::try_from(time.timestamp_millis()).unwrap_or_default();
    Uuid::from_u128(millis << 80)
}

pub(super) async fn delete_ticks(tx: &mut ControlTx, before: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        DELETE FROM control.schedule_ticks
        WHERE tick_at < $1
        "#,
        before,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete_workers(tx: &mut ControlTx, before: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        DELETE FROM control.job_workers
        WHERE last_seen_at < $1
        "#,
        before,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete_retired(tx: &mut ControlTx, before: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        DELETE FROM control.schedules
        WHERE retired_at < $1
        "#,
        before,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
