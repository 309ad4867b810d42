//! Rows of `control.migration_tenants`: claiming tenants and writing down what became of them.

use bulkhead_kernel::ids::{LeaseToken, MigrationRunId, TenantId};
use sqlx::PgConnection;

use crate::DbError;

/// Claims tenants of the lowest ring that has any left; those of a dead runner among them. None when the run is not
/// running under this lease, or when all that is left is under way or waits.
pub(in crate::fleet) async fn claim(
    conn: &mut PgConnection,
    run: MigrationRunId,
    token: LeaseToken,
    n: i64,
) -> Result<Vec<TenantId>, DbError> {
    let rows = sqlx::query_scalar!(
        r#"
        WITH due AS (
            SELECT m.tenant_id
            FROM control.migration_tenants AS m
            WHERE m.run_id = $1
              AND m.ring = (SELECT min(open.ring)
                            FROM control.migration_tenants AS open
                            WHERE open.run_id = $1
                              AND open.state IN ('pending', 'running'))
              AND m.state IN ('pending', 'running')
              AND CASE WHEN m.state = 'pending' THEN m.due_at <= now() ELSE m.runner <> $2 END
              AND EXISTS (SELECT
                          FROM control.migration_runs AS r
                          WHERE r.id = $1
                            AND r.state = 'running'
                            AND r.lease_token = $2)
            ORDER BY m.position
            LIMIT $3
                FOR UPDATE OF m SKIP LOCKED
        )
        UPDATE control.migration_tenants AS m
        SET state = 'running', runner = $2
        FROM due
        WHERE m.run_id = $1
          AND m.tenant_id = due.tenant_id
        RETURNING m.tenant_id
        "#,
        run.uuid(),
        token.uuid(),
        n,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(TenantId::from).collect())
}

/// How many tenants of the run are not over yet, and whether it still runs under this lease.
pub(in crate::fleet) async fn count_open(
    conn: &mut PgConnection,
    run: MigrationRunId,
    token: LeaseToken,
) -> Result<(i64, bool), DbError> {
    let row = sqlx::query!(
        r#"
        SELECT (SELECT count(*)
                FROM control.migration_tenants
                WHERE run_id = $1
                  AND state IN ('pending', 'running')) AS "n!",
               EXISTS (SELECT
                       FROM control.migration_runs
                       WHERE id = $1
                         AND state = 'running'
                         AND lease_token = $2) AS "is_ours!"
        "#,
        run.uuid(),
        token.uuid(),
    )
    .fetch_one(conn)
    .await?;
    Ok((row.n, row.is_ours))
}

/// What is to be known of a tenant under its lock.
pub(in crate::fleet) struct Look {
    /// Whether the run still runs under this lease.
    pub(in crate::fleet) is_ours: bool,
    pub(in crate::fleet) is_leaving: bool,
    /// `None` when the tenant is gone or has no schema yet.
    pub(in crate::fleet) version: Option<i64>,
}

pub(in crate::fleet) async fn look(
    conn: &mut PgConnection,
    run: MigrationRunId,
    token: LeaseToken,
    tenant: TenantId,
) -> Result<Look, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT r.state = 'running' AND r.lease_token = $2 AS is_ours, t.status = 'deleting' AS is_leaving,
               t.schema_version AS "schema_version?"
        FROM control.migration_runs AS r
                 LEFT JOIN control.tenants AS t ON t.id = $3
        WHERE r.id = $1
        "#,
        run.uuid(),
        token.uuid(),
        tenant.uuid(),
    )
    .fetch_one(conn)
    .await?;
    Ok(Look {
        is_ours: row.is_ours.unwrap_or(false),
        is_leaving: row.is_leaving.unwrap_or(true),
        version: row.schema_version,
    })
}

/// Writes what the tenant's schema has become in this transaction.
pub(in crate::fleet) async fn set_version(
    conn: &mut PgConnection,
    tenant: TenantId,
    version: i64,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.tenants
        SET schema_version = $2, updated_at = now()
        WHERE id = $1
        "#,
        tenant.uuid(),
        version,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends the tenant's row, whoever has it by now: under the tenant's lock what is done is done.
pub(in crate::fleet) async fn set_done(
    conn: &mut PgConnection,
    run: MigrationRunId,
    tenant: TenantId,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.migration_tenants
        SET state = 'done', attempts = attempts + 1, runner = NULL, error = NULL, started_at = now(),
            finished_at = clock_timestamp()
        WHERE run_id = $1
          AND tenant_id = $2
        "#,
        run.uuid(),
        tenant.uuid(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(in crate::fleet) async fn set_skipped(
    conn: &mut PgConnection,
    run: MigrationRunId,
    tenant: TenantId,
    reason: &str,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.migration_tenants
        SET state = 'skipped', runner = NULL, error = $3, finished_at = clock_timestamp()
        WHERE run_id = $1
          AND tenant_id = $2
          AND state = 'running'
        "#,
        run.uuid(),
        tenant.uuid(),
        reason,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A failure, and whether another attempt may help.
pub(in crate::fleet) struct Failure<'a> {
    pub(in crate::fleet) error: &'a str,
    pub(in crate::fleet) is_passing: bool,
    pub(in crate::fleet) max_attempts: i16,
}

/// What became of a tenant that failed.
pub(in crate::fleet) struct Failed {
    pub(in crate::fleet) is_given_up: bool,
    pub(in crate::fleet) is_canary: bool,
    pub(in crate::fleet) slug: String,
}

/// Puts the tenant off, twice as long each time up to 5 s, or gives it up. Nothing when another runner has it by now.
pub(in crate::fleet) async fn set_failed(
    conn: &mut PgConnection,
    run: MigrationRunId,
    token: LeaseToken,
    tenant: TenantId,
    failure: &Failure<'_>,
) -> Result<Option<Failed>, DbError> {
    let row = sqlx::query!(
        r#"
        UPDATE control.migration_tenants AS m
        SET attempts = m.attempts + 1,
            state = CASE WHEN $5 AND m.attempts + 1 < $6 THEN 'pending' ELSE 'failed' END,
            due_at = now() + least(0.1 * 2 ^ m.attempts, 5) * interval '1 second',
            runner = NULL,
            error = $4,
            finished_at = clock_timestamp()
        FROM control.tenants AS t
        WHERE t.id = m.tenant_id
          AND m.run_id = $1
          AND m.tenant_id = $3
          AND m.state = 'running'
          AND m.runner = $2
        RETURNING m.state = 'failed' AS "is_given_up!", m.ring = 0 AS "is_canary!", t.slug
        "#,
        run.uuid(),
        token.uuid(),
        tenant.uuid(),
        failure.error,
        failure.is_passing,
        i32::from(failure.max_attempts),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Failed {
        is_given_up: row.is_given_up,
        is_canary: row.is_canary,
        slug: row.slug,
    }))
}

pub(in crate::fleet) async fn count_failed(conn: &mut PgConnection, run: MigrationRunId) -> Result<i64, DbError> {
    let n = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "n!"
        FROM control.migration_tenants
        WHERE run_id = $1
          AND state = 'failed'
        "#,
        run.uuid(),
    )
    .fetch_one(conn)
    .await?;
    Ok(n)
}

/// Adds tenants that a process of the release before has built behind the run's back; gives how many.
pub(in crate::fleet) async fn insert_late(
    conn: &mut PgConnection,
    run: MigrationRunId,
    target: i64,
) -> Result<u64, DbError> {
    let added = sqlx::query!(
        r#"
        INSERT INTO control.migration_tenants (run_id, tenant_id, ring, position)
        SELECT $1, id, 3, 0
        FROM control.tenants
        WHERE schema_version < $2
          AND status <> 'deleting'
        ON CONFLICT (run_id, tenant_id) DO NOTHING
        "#,
        run.uuid(),
        target,
    )
    .execute(conn)
    .await?;
    Ok(added.rows_affected())
}
