//! How many jobs there are, counted by one worker for all.

use std::time::Duration;

use bulkhead_tenancy::DbError;
use serde::Deserialize;
use sqlx::PgConnection;

use super::millis;

/// Jobs of one kind, each number up to the bound of the count.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Depth {
    pub(crate) kind: String,
    pub(crate) queue: String,
    pub(crate) queued: u32,
    pub(crate) delayed: u32,
    pub(crate) parked: u32,
    pub(crate) running: u32,
    pub(crate) dead: u32,
    /// How long the one that is due longest has been due, in seconds.
    pub(crate) oldest_secs: f64,
}

impl Depth {
    /// Of a kind of which there are none any more.
    pub(crate) fn none(kind: &str, queue: &str) -> Self {
        Self {
            kind: kind.into(),
            queue: queue.into(),
            queued: 0,
            delayed: 0,
            parked: 0,
            running: 0,
            dead: 0,
            oldest_secs: 0.0,
        }
    }
}

/// Counts anew when the last count is older than `every` and nobody is counting now. No more than `bound` jobs of one kind
/// in one state are counted, no more than so many dead ones in all, and no more than 200 kinds.
pub(crate) async fn count_if_due(conn: &mut PgConnection, every: Duration, bound: i64) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        WITH RECURSIVE due AS MATERIALIZED (
            SELECT is_only
            FROM control.job_gauges
            WHERE counted_at < now() - $1::bigint * interval '1 millisecond'
            FOR UPDATE SKIP LOCKED
        ), waiting (kind, n) AS (
            -- From kind to kind over the index, however many jobs each has.
            (SELECT kind, 1 FROM control.jobs, due WHERE state = 'queued' ORDER BY kind LIMIT 1)
            UNION ALL
            SELECT (SELECT j.kind FROM control.jobs AS j WHERE j.state = 'queued' AND j.kind > w.kind ORDER BY j.kind LIMIT 1), w.n + 1
            FROM waiting AS w
            WHERE w.kind IS NOT NULL
              AND w.n < 200
        ), running AS (
            SELECT j.kind, min(j.queue) AS queue, count(*) AS n
            FROM control.jobs AS j, due
            WHERE j.state = 'running'
            GROUP BY j.kind
        ), dead AS (
            SELECT d.kind, min(d.queue) AS queue, count(*) AS n
            FROM (SELECT kind, queue FROM control.jobs, due WHERE state = 'dead' ORDER BY finished_at DESC LIMIT $2) AS d
            GROUP BY d.kind
        ), kinds AS (
            SELECT kind FROM waiting WHERE kind IS NOT NULL
            UNION
            SELECT kind FROM running
            UNION
            SELECT kind FROM dead
        ), depths AS (
            SELECT
                k.kind,
                coalesce(
                    (SELECT j.queue FROM control.jobs AS j WHERE j.state = 'queued' AND j.kind = k.kind LIMIT 1),
                    r.queue, d.queue) AS queue,
                (SELECT count(*) FROM (SELECT FROM control.jobs AS j WHERE j.state = 'queued' AND j.kind = k.kind
                    AND NOT j.is_parked AND j.is_due LIMIT $2) AS found) AS queued,
                (SELECT count(*) FROM (SELECT FROM control.jobs AS j WHERE j.state = 'queued' AND j.kind = k.kind
                    AND NOT j.is_parked AND NOT j.is_due LIMIT $2) AS found) AS delayed,
                (SELECT count(*) FROM (SELECT FROM control.jobs AS j WHERE j.state = 'queued' AND j.kind = k.kind
                    AND j.is_parked LIMIT $2) AS found) AS parked,
                coalesce(r.n, 0) AS running,
                coalesce(d.n, 0) AS dead,
                greatest(0, coalesce((SELECT extract(EPOCH FROM now() - j.run_at) FROM control.jobs AS j
                    WHERE j.state = 'queued' AND j.kind = k.kind AND NOT j.is_parked AND j.is_due
                    ORDER BY j.run_at LIMIT 1), 0)) AS oldest_secs
            FROM kinds AS k
                     LEFT JOIN running AS r ON r.kind = k.kind
                     LEFT JOIN dead AS d ON d.kind = k.kind
        )
        UPDATE control.job_gauges AS g
        SET counted_at = now(),
            body       = (SELECT coalesce(jsonb_agg(to_jsonb(depths)), '[]') FROM depths)
        FROM due
        WHERE g.is_only = due.is_only
        "#,
        millis(every),
        bound,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What was counted last.
pub(crate) async fn list_depths(conn: &mut PgConnection) -> Result<Vec<Depth>, DbError> {
    let body = sqlx::query_scalar!(
        r#"
        SELECT body
        FROM control.job_gauges
        "#,
    )
    .fetch_one(conn)
    .await?;
    Ok(serde_json::from_value(body).unwrap_or_default())
}
