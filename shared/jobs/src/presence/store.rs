//! Rows of `control.job_workers`, and the mark of jobs that no worker knows.

use std::time::Duration;

use bulkhead_tenancy::DbError;
use sqlx::PgConnection;

use super::{Presence, Unknown};

pub(super) async fn announce(
    conn: &mut PgConnection,
    name: &str,
    version: &str,
    kinds: &[String],
    concurrency: i32,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO control.job_workers (name, version, kinds, concurrency)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (name) DO UPDATE SET last_seen_at = now()
        "#,
        name,
        version,
        kinds,
        concurrency,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn delete(conn: &mut PgConnection, name: &str) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        DELETE FROM control.job_workers
        WHERE name = $1
        "#,
        name,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Names and kinds of those that were heard of, the eldest first: names are made of the time.
pub(super) async fn list_living(
    conn: &mut PgConnection,
    within: Duration,
) -> Result<Vec<(String, Vec<String>)>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT name, kinds
        FROM control.job_workers
        WHERE last_seen_at > now() - make_interval(secs => $1)
        ORDER BY name
        "#,
        within.as_secs_f64(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.name, row.kinds)).collect())
}

pub(super) async fn list(conn: &mut PgConnection) -> Result<Vec<Presence>, DbError> {
    let rows = sqlx::query_as!(
        Presence,
        r#"
        SELECT name, version, kinds, concurrency, started_at, last_seen_at
        FROM control.job_workers
        ORDER BY name
        "#,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

pub(super) async fn list_unknown(conn: &mut PgConnection) -> Result<Vec<Unknown>, DbError> {
    let rows = sqlx::query_as!(
        Unknown,
        r#"
        SELECT kind, count(*) AS "n_jobs!", min(run_at) AS "oldest_run_at!"
        FROM control.jobs
        WHERE is_unknown
          AND state = 'queued'
        GROUP BY kind
        ORDER BY kind
        "#,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Kinds of which jobs wait in sight of the claims, beside those that are known. Steps from kind to kind through the index,
/// however many jobs there are of each.
pub(super) async fn list_queued_beside(conn: &mut PgConnection, known: &[String]) -> Result<Vec<String>, DbError> {
    let kinds = sqlx::query_scalar!(
        r#"
        WITH RECURSIVE kinds AS (
            (SELECT j.kind FROM control.jobs AS j WHERE j.state = 'queued' ORDER BY j.kind LIMIT 1)
            UNION ALL
            SELECT (SELECT j.kind
                    FROM control.jobs AS j
                    WHERE j.state = 'queued'
                      AND j.kind > k.kind
                    ORDER BY j.kind
                    LIMIT 1)
            FROM kinds AS k
            WHERE k.kind IS NOT NULL
        )
        SELECT k.kind AS "kind!"
        FROM kinds AS k
        WHERE k.kind <> ALL ($1)
          AND EXISTS (SELECT
                      FROM control.jobs AS j
                      WHERE j.state = 'queued'
                        AND j.kind = k.kind
                        AND NOT j.is_parked)
        "#,
        known,
    )
    .fetch_all(conn)
    .await?;
    Ok(kinds)
}

/// Parks waiting jobs of these kinds, at most `limit`, and gives how many.
pub(super) async fn park_unknown(conn: &mut PgConnection, kinds: &[String], limit: i64) -> Result<u64, DbError> {
    let done = sqlx::query!(
        r#"
        UPDATE control.jobs
        SET is_unknown = true,
            is_parked  = true
        WHERE id IN (SELECT id
                     FROM control.jobs
                     WHERE state = 'queued'
                       AND NOT is_parked
                       AND kind = ANY ($1)
                     LIMIT $2 FOR UPDATE SKIP LOCKED)
        "#,
        kinds,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Gives jobs of these kinds back to the claims, at most `limit`, and says how many. Those of a closed tenant stay parked for
/// it.
pub(super) async fn free_known(conn: &mut PgConnection, kinds: &[String], limit: i64) -> Result<u64, DbError> {
    let done = sqlx::query!(
        r#"
        UPDATE control.jobs AS j
        SET is_unknown = false,
            is_parked  = coalesce((SELECT control.has_parked_jobs(t.status, t.frozen_by)
                                   FROM control.tenants AS t
                                   WHERE t.id = j.tenant_id), false)
        WHERE j.id IN (SELECT id
                       FROM control.jobs
                       WHERE is_unknown
                         AND kind = ANY ($1)
                       LIMIT $2 FOR UPDATE SKIP LOCKED)
        "#,
        kinds,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
