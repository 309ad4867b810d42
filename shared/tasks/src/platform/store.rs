//! `control.jobs` as operators look at it.

use bulkhead_kernel::ids::{JobId, TenantId};
use bulkhead_tenancy::{ControlTx, DbError};

use super::{AnyFilter, AnyJob, Bulk, KindDepth, TenantDepth, WorkerSeen, model::redact};
use crate::State;

/// The newest jobs first; one alone, and then with its payload, where its id is given.
pub(super) async fn list(
    tx: &mut ControlTx,
    id: Option<JobId>,
    filter: &AnyFilter,
    limit: u32,
) -> Result<Vec<AnyJob>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT id, kind, queue, tenant_id, control.job_word(state, is_parked, run_at) AS "state!", is_visible, attempt,
               max_attempts, lost_leases, last_error, worker, principal, request_id, created_at, run_at, started_at,
               finished_at, CASE WHEN $1::uuid IS NOT NULL THEN payload END AS payload
        FROM control.jobs
        WHERE ($1::uuid IS NULL OR id = $1)
          AND ($2::uuid IS NULL OR tenant_id = $2)
          AND ($3::text IS NULL OR kind = $3)
          AND ($4::text IS NULL OR state = CASE $4
                                               WHEN 'failed' THEN 'dead'
                                               WHEN 'scheduled' THEN 'queued'
                                               WHEN 'parked' THEN 'queued'
                                               ELSE $4 END
            AND control.job_word(state, is_parked, run_at) = $4)
          AND ($5::text IS NULL OR queue = $5)
          AND ($6::uuid IS NULL OR id < $6)
        ORDER BY id DESC
        LIMIT $7
        "#,
        id.map(JobId::uuid),
        filter.tenant.map(TenantId::uuid),
        filter.kind,
        filter.state.map(State::as_str),
        filter.queue,
        filter.after.map(JobId::uuid),
        i64::from(limit),
    )
    .fetch_all(tx.conn())
    .await?;
    let jobs = rows.into_iter().map(|row| AnyJob {
        id: row.id.into(),
        kind: row.kind,
        queue: row.queue,
        tenant: row.tenant_id.map(TenantId::from),
        state: State::of(&row.state),
        is_visible: row.is_visible,
        attempt: row.attempt,
        max_attempts: row.max_attempts,
        lost_leases: row.lost_leases,
        last_error: row.last_error,
        worker: row.worker,
        principal: row.principal,
        request_id: row.request_id,
        created_at: row.created_at,
        run_at: row.run_at,
        started_at: row.started_at,
        finished_at: row.finished_at,
        payload: row.payload.as_ref().map(redact),
    });
    Ok(jobs.collect())
}

/// Ends the job or asks for it; the state it is in then.
pub(super) async fn cancel(tx: &mut ControlTx, id: JobId) -> Result<Option<String>, DbError> {
    let state = sqlx::query_scalar!(
        r#"
        SELECT control.cancel_job($1) AS state
        "#,
        id.uuid(),
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(state)
}

/// Runs the job again; the state it is in then, or `taken` where a live job has its key.
pub(super) async fn retry(tx: &mut ControlTx, id: JobId) -> Result<Option<String>, DbError> {
    let word = sqlx::query_scalar!(
        r#"
        SELECT control.try_job_again($1) AS word
        "#,
        id.uuid(),
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(word)
}

/// Runs dead jobs of the type again, those that died first, at most `limit`.
pub(super) async fn retry_dead(
    tx: &mut ControlTx,
    kind: &str,
    tenant: Option<TenantId>,
    limit: i64,
) -> Result<Bulk, DbError> {
    let tenant = tenant.map(TenantId::uuid);
    let words = sqlx::query_scalar!(
        r#"
        SELECT control.try_job_again(d.id) AS word
        FROM (SELECT id
              FROM control.jobs
              WHERE state = 'dead'
                AND kind = $1
                AND ($2::uuid IS NULL OR tenant_id = $2)
              ORDER BY finished_at
              LIMIT $3 FOR UPDATE SKIP LOCKED) AS d
        "#,
        kind,
        tenant,
        limit,
    )
    .fetch_all(tx.conn())
    .await?;
    let left = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "n!"
        FROM control.jobs
        WHERE state = 'dead'
          AND kind = $1
          AND ($2::uuid IS NULL OR tenant_id = $2)
        "#,
        kind,
        tenant,
    )
    .fetch_one(tx.conn())
    .await?;
    let n_all = i64::try_from(words.len()).unwrap_or(i64::MAX);
    let retried = words.iter().filter(|word| word.as_deref() == Some("queued")).count();
    let retried = i64::try_from(retried).unwrap_or(i64::MAX);
    Ok(Bulk {
        retried,
        skipped: n_all - retried,
        left,
    })
}

/// By queue and type.
pub(super) async fn depths(tx: &mut ControlTx) -> Result<Vec<KindDepth>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT queue,
               kind,
               count(*) FILTER (WHERE state = 'queued' AND NOT is_parked AND run_at <= now()) AS "queued!",
               count(*) FILTER (WHERE state = 'queued' AND NOT is_parked AND run_at > now())  AS "scheduled!",
               count(*) FILTER (WHERE state = 'queued' AND is_parked)                         AS "parked!",
               count(*) FILTER (WHERE state = 'running')                                      AS "running!",
               count(*) FILTER (WHERE state = 'dead')                                         AS "failed!",
               extract(EPOCH FROM now() - min(run_at)
                   FILTER (WHERE state = 'queued' AND NOT is_parked AND run_at <= now()))::double precision AS oldest_wait
        FROM control.jobs
        WHERE state IN ('queued', 'running', 'dead')
        GROUP BY queue, kind
        ORDER BY queue, kind
        "#,
    )
    .fetch_all(tx.conn())
    .await?;
    let depths = rows.into_iter().map(|row| KindDepth {
        queue: row.queue,
        kind: row.kind,
        queued: row.queued,
        scheduled: row.scheduled,
        parked: row.parked,
        running: row.running,
        failed: row.failed,
        oldest_wait: row.oldest_wait,
    });
    Ok(depths.collect())
}

/// Those with the most waiting jobs.
pub(super) async fn list_busiest(tx: &mut ControlTx, limit: i64) -> Result<Vec<TenantDepth>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT tenant_id,
               count(*) FILTER (WHERE state = 'queued')  AS "queued!",
               count(*) FILTER (WHERE state = 'running') AS "running!"
        FROM control.jobs
        WHERE state IN ('queued', 'running')
        GROUP BY tenant_id
        ORDER BY 2 DESC, 3 DESC, tenant_id
        LIMIT $1
        "#,
        limit,
    )
    .fetch_all(tx.conn())
    .await?;
    let tenants = rows.into_iter().map(|row| TenantDepth {
        tenant: row.tenant_id.map(TenantId::from),
        queued: row.queued,
        running: row.running,
    });
    Ok(tenants.collect())
}

/// The workers that have jobs in this moment.
pub(super) async fn list_workers(tx: &mut ControlTx) -> Result<Vec<WorkerSeen>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT w.name, w.version, w.concurrency, w.last_seen_at,
               (SELECT count(*) FROM control.jobs AS j WHERE j.state = 'running' AND j.worker = w.name) AS "running!"
        FROM control.job_workers AS w
        ORDER BY w.name
        "#,
    )
    .fetch_all(tx.conn())
    .await?;
    let workers = rows.into_iter().map(|row| WorkerSeen {
        name: row.name,
        version: row.version,
        concurrency: row.concurrency,
        running: row.running,
        last_seen_at: row.last_seen_at,
    });
    Ok(workers.collect())
}
