//! Rows of `control.migration_runs` and what is read of them. Those of its tenants are in [`tenant`].

pub(super) mod drift;
pub(super) mod tenant;

use std::time::Duration;

use bulkhead_kernel::{
    ids::{LeaseToken, MigrationRunId, TenantId},
    page::{Page, PageRequest},
};
use sqlx::PgConnection;

use super::model::{
    Budget, Counts, MigratedTenant, Options, RING_ENDS, RunState, RunStatus, TenantMigration, estimate,
};
use crate::{DbError, Migration};

/// Writes the run and a row for each tenant that is behind, in one statement. Gives the state it is in: with nobody
/// behind it is over at once. The order within a ring is that of a hash, so that a ring is a fair sample.
pub(super) async fn insert_run(
    conn: &mut PgConnection,
    run: MigrationRunId,
    target: i64,
    canaries: &[uuid::Uuid],
    options: &Options,
    principal: &str,
) -> Result<RunState, DbError> {
    let (count, percent) = match options.budget {
        Budget::Count(count) => (Some(i32::try_from(count).unwrap_or(i32::MAX)), 0.0),
        Budget::Percent(percent) => (None, f64::from(percent)),
    };
    let state = sqlx::query_scalar!(
        r#"
        WITH fleet AS MATERIALIZED (
            SELECT id, schema_version < $2 AS is_behind, status = 'deleting' AS is_leaving, id = ANY ($3) AS is_canary
            FROM control.tenants
            WHERE schema_version IS NOT NULL
        ), ranked AS (
            SELECT id, is_leaving, is_canary,
                   row_number() OVER (PARTITION BY is_leaving, is_canary ORDER BY md5(id::text)) AS position,
                   count(*) OVER (PARTITION BY is_leaving, is_canary) AS n
            FROM fleet
            WHERE is_behind
        ), run AS (
            INSERT INTO control.migration_runs (id, target, state, finished_at, principal, workers, max_failures, max_attempts,
                                                lock_timeout_ms, statement_timeout_ms, n_at_target)
            SELECT $1, $2, CASE WHEN behind.n = 0 THEN 'done' ELSE 'running' END, CASE WHEN behind.n = 0 THEN now() END,
                   $4, $5, coalesce($6, ceil(behind.n * $7::float8 / 100)::integer), $8, $9, $10,
                   (SELECT count(*) FROM fleet WHERE NOT is_behind)
            FROM (SELECT count(*) AS n FROM ranked WHERE NOT is_leaving) AS behind
            RETURNING state
        ), rows AS (
            INSERT INTO control.migration_tenants (run_id, tenant_id, ring, position, state, error)
            SELECT $1, id, CASE WHEN is_canary THEN 0
                       ELSE 1 + (SELECT count(*) FROM unnest($11::float8[]) AS reached WHERE position > ceil(n * reached)) END,
                   position, CASE WHEN is_leaving THEN 'skipped' ELSE 'pending' END,
                   CASE WHEN is_leaving THEN 'it is being deleted' END
            FROM ranked
        )
        SELECT state
        FROM run
        "#,
        run.uuid(),
        target,
        canaries,
        principal,
        i16::from(options.workers),
        count,
        percent,
        i16::from(options.max_attempts),
        millis(options.lock_timeout),
        millis(options.statement_timeout),
        &RING_ENDS,
    )
    .fetch_one(conn)
    .await?;
    Ok(RunState::parse(&state))
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// Notes what these versions are made of, and gives the name of one that ran with another text before.
pub(super) async fn find_changed(
    conn: &mut PgConnection,
    migrations: &[&Migration],
) -> Result<Option<String>, DbError> {
    let versions: Vec<i64> = migrations.iter().map(|one| one.version).collect();
    let names: Vec<String> = migrations.iter().map(|one| one.name.to_string()).collect();
    let texts: Vec<String> = migrations.iter().map(|one| one.sql.to_string()).collect();
    let changed = sqlx::query_scalar!(
        r#"
        WITH given AS (
            SELECT version, name, sha256(convert_to(text, 'UTF8')) AS checksum
            FROM unnest($1::bigint[], $2::text[], $3::text[]) AS given (version, name, text)
        ), noted AS (
            INSERT INTO control.tenant_migrations (version, name, checksum)
            SELECT version, name, checksum
            FROM given
            ON CONFLICT (version) DO NOTHING
        )
        SELECT given.name AS "name!"
        FROM given
                 JOIN control.tenant_migrations AS first ON first.version = given.version
        WHERE first.checksum <> given.checksum
        LIMIT 1
        "#,
        &versions,
        &names,
        &texts,
    )
    .fetch_optional(conn)
    .await?;
    Ok(changed)
}

/// The ids behind names that are ids or slugs; a name without a tenant is missing.
pub(super) async fn find_tenants(
    conn: &mut PgConnection,
    ids: &[uuid::Uuid],
    slugs: &[String],
) -> Result<Vec<(TenantId, String)>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT id, slug
        FROM control.tenants
        WHERE id = ANY ($1)
           OR slug = ANY ($2)
        "#,
        ids,
        slugs,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id.into(), row.slug)).collect())
}

/// The part of a run that decides what becomes of it.
pub(super) struct LockedRun {
    pub(super) id: MigrationRunId,
    pub(super) target: i64,
    pub(super) state: RunState,
    pub(super) is_leased: bool,
    pub(super) max_failures: i64,
    pub(super) accepted_failures: i64,
}

/// Keeps the run to this transaction.
pub(super) async fn lock_run(conn: &mut PgConnection, run: MigrationRunId) -> Result<Option<LockedRun>, DbError> {
    lock(conn, Some(run)).await
}

/// Keeps the open run to this transaction.
pub(super) async fn lock_open_run(conn: &mut PgConnection) -> Result<Option<LockedRun>, DbError> {
    lock(conn, None).await
}

async fn lock(conn: &mut PgConnection, run: Option<MigrationRunId>) -> Result<Option<LockedRun>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT id, target, state, coalesce(lease_until > now(), false) AS "is_leased!", max_failures, accepted_failures
        FROM control.migration_runs
        WHERE id = $1
           OR ($1 IS NULL AND finished_at IS NULL)
            FOR UPDATE
        "#,
        run.map(MigrationRunId::uuid),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| LockedRun {
        id: row.id.into(),
        target: row.target,
        state: RunState::parse(&row.state),
        is_leased: row.is_leased,
        max_failures: row.max_failures.into(),
        accepted_failures: row.accepted_failures.into(),
    }))
}

/// A finished state ends the run and its lease.
pub(super) async fn set_state(
    conn: &mut PgConnection,
    run: MigrationRunId,
    state: RunState,
    reason: Option<&str>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.migration_runs
        SET state = $2,
            reason = $3,
            finished_at = CASE WHEN $4 THEN now() END,
            lease_token = CASE WHEN $4 THEN NULL ELSE lease_token END,
            lease_until = CASE WHEN $4 THEN NULL ELSE lease_until END
        WHERE id = $1
        "#,
        run.uuid(),
        state.as_str(),
        reason,
        state.is_finished(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// From here on only further failures count.
pub(super) async fn accept_failures(conn: &mut PgConnection, run: MigrationRunId) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.migration_runs
        SET accepted_failures = (SELECT count(*) FROM control.migration_tenants WHERE run_id = $1 AND state = 'failed')
        WHERE id = $1
        "#,
        run.uuid(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn retry_failed(
    conn: &mut PgConnection,
    run: MigrationRunId,
    tenants: Option<&[TenantId]>,
) -> Result<u64, DbError> {
    let tenants: Option<Vec<uuid::Uuid>> = tenants.map(|all| all.iter().map(|one| one.uuid()).collect());
    let done = sqlx::query!(
        r#"
        UPDATE control.migration_tenants
        SET state = 'pending', attempts = 0, due_at = now(), finished_at = NULL
        WHERE run_id = $1
          AND state = 'failed'
          AND ($2::uuid[] IS NULL OR tenant_id = ANY ($2))
        "#,
        run.uuid(),
        tenants.as_deref(),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// What a runner has to keep to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Orders {
    pub(super) target: i64,
    pub(super) workers: u8,
    pub(super) max_attempts: i16,
    pub(super) lock_timeout: Duration,
    pub(super) statement_timeout: Duration,
}

/// Takes a running run that nobody holds, for this long.
pub(super) async fn take_lease(
    conn: &mut PgConnection,
    run: MigrationRunId,
    token: LeaseToken,
    lease: Duration,
) -> Result<Option<Orders>, DbError> {
    let row = sqlx::query!(
        r#"
        UPDATE control.migration_runs
        SET lease_token = $2, lease_until = now() + $3::bigint * interval '1 millisecond'
        WHERE id = $1
          AND state = 'running'
          AND (lease_until IS NULL OR lease_until < now())
        RETURNING target, workers, max_attempts, lock_timeout_ms, statement_timeout_ms
        "#,
        run.uuid(),
        token.uuid(),
        i64::from(millis(lease)),
    )
    .fetch_optional(conn)
    .await?;
    let duration = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    Ok(row.map(|row| Orders {
        target: row.target,
        workers: u8::try_from(row.workers).unwrap_or(1),
        max_attempts: row.max_attempts,
        lock_timeout: duration(row.lock_timeout_ms),
        statement_timeout: duration(row.statement_timeout_ms),
    }))
}

/// Gives whether the lease was still ours.
pub(super) async fn renew_lease(
    conn: &mut PgConnection,
    run: MigrationRunId,
    token: LeaseToken,
    lease: Duration,
) -> Result<bool, DbError> {
    let renewed = sqlx::query!(
        r#"
        UPDATE control.migration_runs
        SET lease_until = now() + $3::bigint * interval '1 millisecond'
        WHERE id = $1
          AND lease_token = $2
        "#,
        run.uuid(),
        token.uuid(),
        i64::from(millis(lease)),
    )
    .execute(conn)
    .await?;
    Ok(renewed.rows_affected() == 1)
}

/// Gives back the run and the tenants that were claimed and not begun.
pub(super) async fn release(conn: &mut PgConnection, run: MigrationRunId, token: LeaseToken) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        WITH given_back AS (
            UPDATE control.migration_tenants
            SET state = 'pending', runner = NULL
            WHERE run_id = $1
              AND state = 'running'
              AND runner = $2
        )
        UPDATE control.migration_runs
        SET lease_token = NULL, lease_until = NULL
        WHERE id = $1
          AND lease_token = $2
        "#,
        run.uuid(),
        token.uuid(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn find_run(conn: &mut PgConnection, run: MigrationRunId) -> Result<Option<RunStatus>, DbError> {
    Ok(select_runs(conn, Some(run), PageRequest::ONE).await?.items.pop())
}

pub(super) async fn list_runs(conn: &mut PgConnection, page: PageRequest) -> Result<Page<RunStatus>, DbError> {
    select_runs(conn, None, page).await
}

async fn select_runs(
    conn: &mut PgConnection,
    only: Option<MigrationRunId>,
    request: PageRequest,
) -> Result<Page<RunStatus>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT r.id, r.target, r.state, r.reason, r.principal, r.workers, r.max_failures, r.n_at_target, r.created_at,
               r.finished_at, coalesce(r.lease_until > now(), false) AS "is_leased!", count(*) OVER () AS "total!",
               t.n_pending AS "n_pending!", t.n_running AS "n_running!", t.n_done AS "n_done!", t.n_failed AS "n_failed!",
               t.n_skipped AS "n_skipped!", t.ring, t.mean_secs
        FROM control.migration_runs AS r
                 CROSS JOIN LATERAL (
            SELECT count(*) FILTER (WHERE state = 'pending') AS n_pending,
                   count(*) FILTER (WHERE state = 'running') AS n_running,
                   count(*) FILTER (WHERE state = 'done')    AS n_done,
                   count(*) FILTER (WHERE state = 'failed')  AS n_failed,
                   count(*) FILTER (WHERE state = 'skipped') AS n_skipped,
                   min(ring) FILTER (WHERE state IN ('pending', 'running')) AS ring,
                   avg(extract(epoch FROM finished_at - started_at)) FILTER (WHERE state = 'done')::float8 AS mean_secs
            FROM control.migration_tenants
            WHERE run_id = r.id
            ) AS t
        WHERE $1::uuid IS NULL
           OR r.id = $1
        ORDER BY r.created_at DESC, r.id DESC
        LIMIT $2 OFFSET $3
        "#,
        only.map(MigrationRunId::uuid),
        i64::from(request.limit()),
        request.offset(),
    )
    .fetch_all(conn)
    .await?;
    let total = rows.first().map_or(0, |row| row.total);
    let items = rows.into_iter().map(|row| RunStatus {
        id: row.id.into(),
        target: row.target,
        state: RunState::parse(&row.state),
        reason: row.reason,
        principal: row.principal,
        workers: row.workers,
        max_failures: row.max_failures,
        is_carried_out: row.is_leased,
        ring: row.ring,
        counts: Counts {
            pending: row.n_pending,
            running: row.n_running,
            done: row.n_done,
            failed: row.n_failed,
            skipped: row.n_skipped,
            at_target: row.n_at_target,
        },
        remaining: estimate(row.n_pending + row.n_running, row.mean_secs, row.workers),
        created_at: row.created_at,
        finished_at: row.finished_at,
    });
    Ok(Page {
        items: items.collect(),
        total,
        request,
    })
}

pub(super) async fn list_named(conn: &mut PgConnection, run: MigrationRunId) -> Result<Vec<MigratedTenant>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT t.id, t.slug, m.ring, m.state, m.attempts, m.error
        FROM control.migration_tenants AS m
                 JOIN control.tenants AS t ON t.id = m.tenant_id
        WHERE m.run_id = $1
          AND m.state IN ('failed', 'skipped')
        ORDER BY m.state, m.ring, t.slug
        LIMIT 1000
        "#,
        run.uuid(),
    )
    .fetch_all(conn)
    .await?;
    let named = rows.into_iter().map(|row| MigratedTenant {
        id: row.id.into(),
        slug: row.slug,
        ring: row.ring,
        state: TenantMigration::parse(&row.state),
        attempts: row.attempts,
        error: row.error,
    });
    Ok(named.collect())
}

/// The tenants at each version, and how many rows a ring would have.
pub(super) struct Standing {
    pub(super) version: Option<i64>,
    pub(super) n: i64,
    pub(super) n_deleting: i64,
}

pub(super) async fn list_versions(conn: &mut PgConnection) -> Result<Vec<Standing>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT schema_version, count(*) AS "n!", count(*) FILTER (WHERE status = 'deleting') AS "n_deleting!"
        FROM control.tenants
        GROUP BY schema_version
        ORDER BY schema_version
        "#
    )
    .fetch_all(conn)
    .await?;
    let standing = rows.into_iter().map(|row| Standing {
        version: row.schema_version,
        n: row.n,
        n_deleting: row.n_deleting,
    });
    Ok(standing.collect())
}
