//! Rows of `control.schedules` and `control.schedule_ticks`.

use std::time::Duration;

use bulkhead_kernel::{ids::JobId, origin::Origin};
use bulkhead_tenancy::{ControlTx, DbError};
use chrono::{DateTime, Utc};

use super::{LastJob, Schedule, Scheduled};

/// What the loop has to know between two ticks.
pub(super) struct Outlook {
    /// The database's time.
    pub(super) now: DateTime<Utc>,
    /// How long until the next tick; zero when one has come. `None` where there is no schedule.
    pub(super) wait: Option<Duration>,
    /// How late the tick is that nobody has taken up for the longest.
    pub(super) overdue: Duration,
    pub(super) n_paused: i64,
}

/// A schedule with what decides about its ticks, its row locked.
pub(super) struct LockedRow {
    pub(super) name: String,
    pub(super) expression: String,
    pub(super) time_zone: String,
    pub(super) catch_up: String,
    pub(super) kind: String,
    pub(super) is_paused: bool,
    pub(super) next_tick_at: DateTime<Utc>,
}

/// Writes what the code says. What an operator said stays, and so does the last tick; the next one is another only where the
/// times are others, or the schedule was retired.
pub(super) async fn declare(tx: &mut ControlTx, schedule: &Schedule, next: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO control.schedules AS s (name, expression, time_zone, catch_up, kind, queue, payload, priority,
                                            max_attempts, unique_key, next_tick_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT (name) DO UPDATE
            SET expression   = excluded.expression,
                time_zone    = excluded.time_zone,
                catch_up     = excluded.catch_up,
                kind         = excluded.kind,
                queue        = excluded.queue,
                payload      = excluded.payload,
                priority     = excluded.priority,
                max_attempts = excluded.max_attempts,
                unique_key   = excluded.unique_key,
                next_tick_at = CASE
                                   WHEN (s.expression, s.time_zone) = (excluded.expression, excluded.time_zone)
                                       AND s.retired_at IS NULL THEN s.next_tick_at
                                   ELSE excluded.next_tick_at END,
                retired_at   = NULL
            WHERE (s.expression, s.time_zone, s.catch_up, s.kind, s.queue, s.payload, s.priority, s.max_attempts)
                <> (excluded.expression, excluded.time_zone, excluded.catch_up, excluded.kind, excluded.queue,
                    excluded.payload, excluded.priority, excluded.max_attempts)
               OR s.unique_key IS DISTINCT FROM excluded.unique_key
               OR s.retired_at IS NOT NULL
        "#,
        schedule.name.as_str(),
        schedule.expression,
        schedule.time_zone,
        schedule.catch_up.as_str(),
        schedule.kind,
        schedule.queue,
        schedule.payload,
        schedule.priority,
        schedule.max_attempts,
        schedule.unique_key,
        next,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Marks those that the code does not name.
pub(super) async fn retire_others(tx: &mut ControlTx, names: &[String], now: DateTime<Utc>) -> Result<u64, DbError> {
    let done = sqlx::query!(
        r#"
        UPDATE control.schedules
        SET retired_at = $2
        WHERE name <> ALL ($1)
          AND retired_at IS NULL
        "#,
        names,
        now,
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected())
}

pub(super) async fn outlook(tx: &mut ControlTx) -> Result<Outlook, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT now() AS "now!",
               (extract(EPOCH FROM min(next_tick_at) FILTER (WHERE NOT is_paused) - now()))::float8 AS wait_secs,
               count(*) FILTER (WHERE is_paused) AS "n_paused!"
        FROM control.schedules
        WHERE retired_at IS NULL
        "#,
    )
    .fetch_one(tx.conn())
    .await?;
    let secs = |secs: f64| Duration::try_from_secs_f64(secs.max(0.0)).unwrap_or_default();
    Ok(Outlook {
        now: row.now,
        wait: row.wait_secs.map(secs),
        overdue: row.wait_secs.map(|wait| secs(-wait)).unwrap_or_default(),
        n_paused: row.n_paused,
    })
}

/// The schedule that is due for the longest, beside those named; one that somebody else is at is passed over.
pub(super) async fn lock_due(
    tx: &mut ControlTx,
    now: DateTime<Utc>,
    beside: &[String],
) -> Result<Option<LockedRow>, DbError> {
    let row = sqlx::query_as!(
        LockedRow,
        r#"
        SELECT name, expression, time_zone, catch_up, kind, is_paused, next_tick_at
        FROM control.schedules
        WHERE NOT is_paused
          AND retired_at IS NULL
          AND next_tick_at <= $1
          AND name <> ALL ($2)
        ORDER BY next_tick_at
        LIMIT 1
        FOR UPDATE SKIP LOCKED
        "#,
        now,
        beside,
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row)
}

/// One schedule, after waiting for whoever is at it.
pub(super) async fn lock(tx: &mut ControlTx, name: &str) -> Result<Option<LockedRow>, DbError> {
    let row = sqlx::query_as!(
        LockedRow,
        r#"
        SELECT name, expression, time_zone, catch_up, kind, is_paused, next_tick_at
        FROM control.schedules
        WHERE name = $1
          AND retired_at IS NULL
        FOR UPDATE
        "#,
        name,
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row)
}

/// Takes the tick; `false` when somebody has it.
pub(super) async fn insert_tick(tx: &mut ControlTx, name: &str, tick: DateTime<Utc>) -> Result<bool, DbError> {
    let done = sqlx::query!(
        r#"
        INSERT INTO control.schedule_ticks (schedule, tick_at)
        VALUES ($1, $2)
        ON CONFLICT (schedule, tick_at) DO NOTHING
        "#,
        name,
        tick,
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes the job of a tick, told its moment, and says in both rows which it is. `None` when a job with its unique key still
/// waits or runs.
pub(super) async fn enqueue(
    tx: &mut ControlTx,
    name: &str,
    tick: DateTime<Utc>,
    origin: &Origin,
) -> Result<Option<JobId>, DbError> {
    let id = sqlx::query_scalar!(
        r#"
        WITH job AS (
            SELECT control.insert_job(
                       p_tenant => NULL, p_id => $2, p_kind => s.kind, p_queue => s.queue,
                       p_payload => CASE
                                        WHEN jsonb_typeof(s.payload) = 'object'
                                            THEN s.payload || jsonb_build_object('tick', $3::timestamptz)
                                        ELSE s.payload END,
                       p_priority => s.priority, p_max_attempts => s.max_attempts, p_delay_ms => 0,
                       p_deadline_ms => NULL, p_is_visible => false,
                       p_unique_key => s.unique_key, p_principal => $4, p_request_id => $5, p_traceparent => $6
                   ) AS id
            FROM control.schedules AS s
            WHERE s.name = $1
        ), tick AS (
            UPDATE control.schedule_ticks AS t
            SET job_id = job.id
            FROM job
            WHERE t.schedule = $1
              AND t.tick_at = $3
        )
        UPDATE control.schedules AS s
        SET last_job_id      = job.id,
            last_enqueued_at = now()
        FROM job
        WHERE s.name = $1
          AND job.id IS NOT NULL
        RETURNING job.id AS "id!"
        "#,
        name,
        JobId::new().uuid(),
        tick,
        origin.principal,
        origin.request_id,
        origin.traceparent,
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(id.map(JobId::from))
}

/// Goes on to the next tick; the last one stays where none was run.
pub(super) async fn set_next(
    tx: &mut ControlTx,
    name: &str,
    last: Option<DateTime<Utc>>,
    next: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.schedules
        SET last_tick_at = greatest(last_tick_at, $2),
            next_tick_at = $3
        WHERE name = $1
        "#,
        name,
        last,
        next,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn set_paused(tx: &mut ControlTx, name: &str, is_paused: bool) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.schedules
        SET is_paused = $2
        WHERE name = $1
        "#,
        name,
        is_paused,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The time of the transaction.
pub(super) async fn now(tx: &mut ControlTx) -> Result<DateTime<Utc>, DbError> {
    let now = sqlx::query_scalar!(r#"SELECT now() AS "now!""#)
        .fetch_one(tx.conn())
        .await?;
    Ok(now)
}

/// Those of the code's list by name, or the one of this name.
pub(super) async fn list(tx: &mut ControlTx, name: Option<&str>) -> Result<Vec<Scheduled>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT s.name, s.expression, s.time_zone, s.catch_up, s.kind, s.is_paused, s.last_tick_at, s.next_tick_at,
               s.last_job_id, s.last_enqueued_at, j.state AS "job_state?", j.finished_at
        FROM control.schedules AS s
                 LEFT JOIN control.jobs AS j ON j.id = s.last_job_id
        WHERE s.retired_at IS NULL
          AND ($1::text IS NULL OR s.name = $1)
        ORDER BY s.name
        "#,
        name,
    )
    .fetch_all(tx.conn())
    .await?;
    let scheduled = rows.into_iter().map(|row| Scheduled {
        name: row.name,
        expression: row.expression,
        time_zone: row.time_zone,
        catch_up: row.catch_up,
        kind: row.kind,
        is_paused: row.is_paused,
        last_tick_at: row.last_tick_at,
        next_tick_at: (!row.is_paused).then_some(row.next_tick_at),
        last_job: row
            .last_job_id
            .zip(row.last_enqueued_at)
            .map(|(id, enqueued_at)| LastJob {
                id: id.into(),
                state: row.job_state,
                enqueued_at,
                finished_at: row.finished_at,
            }),
    });
    Ok(scheduled.collect())
}
