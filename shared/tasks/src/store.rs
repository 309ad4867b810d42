//! The jobs of the tenant of the transaction, through functions that take it from the role.

use bulkhead_jobs::JobFile;
use bulkhead_kernel::ids::JobId;
use bulkhead_tenancy::{DbError, TenantTx};
use chrono::{DateTime, Utc};

use crate::{EventBody, JobEvent, JobFilter, OwnJob, State};

/// The newest jobs first, as the filter wants them; one alone where its id is given.
pub(crate) async fn list(
    tx: &mut TenantTx,
    id: Option<JobId>,
    filter: &JobFilter,
    limit: u32,
) -> Result<Vec<OwnJob>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT
            j.id AS "id!",
            j.kind AS "kind!",
            j.state AS "state!",
            j.attempt AS "attempt!",
            j.max_attempts AS "max_attempts!",
            j.progress_done,
            j.progress_total,
            j.result,
            j.has_file AS "has_file!",
            j.error_code,
            j.is_cancel_requested AS "is_cancel_requested!",
            j.created_by AS "created_by!",
            j.created_at AS "created_at!",
            j.run_at AS "run_at!",
            j.deadline_at,
            j.started_at,
            j.finished_at
        FROM control.list_own_jobs($1, $2, $3, $4, $5, $6, $7) AS j
        "#,
        id.map(JobId::uuid),
        filter.state.map(State::as_str),
        filter.kind,
        filter.since,
        filter.until,
        filter.after.map(JobId::uuid),
        i32::try_from(limit).unwrap_or(i32::MAX),
    )
    .fetch_all(tx.conn())
    .await?;
    let jobs = rows.into_iter().map(|row| {
        let state = State::of(&row.state);
        OwnJob {
            id: row.id.into(),
            kind: row.kind,
            state,
            attempt: count(row.attempt),
            max_attempts: count(row.max_attempts),
            progress: row.progress_done.map(|done| (done, row.progress_total)),
            result: row.result,
            has_file: row.has_file,
            error: row.error_code,
            is_cancel_requested: row.is_cancel_requested && state == State::Running,
            created_by: row.created_by,
            created_at: row.created_at,
            run_at: row.run_at,
            deadline_at: row.deadline_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        }
    });
    Ok(jobs.collect())
}

/// Counters in the table are never negative.
fn count(number: i16) -> u16 {
    u16::try_from(number).unwrap_or_default()
}

/// The job.
pub(crate) async fn find(tx: &mut TenantTx, id: JobId) -> Result<Option<OwnJob>, DbError> {
    Ok(list(tx, Some(id), &JobFilter::default(), 1).await?.pop())
}

/// What happened to the job after the event of this number.
pub(crate) async fn list_events(
    tx: &mut TenantTx,
    id: JobId,
    after: i32,
    limit: i32,
) -> Result<Vec<JobEvent>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT e.seq AS "seq!", e.type AS "kind!", e.body AS "body!", e.created_at AS "created_at!"
        FROM control.list_own_job_events($1, $2, $3) AS e
        "#,
        id.uuid(),
        after,
        limit,
    )
    .fetch_all(tx.conn())
    .await?;
    let events = rows.into_iter().map(|row| JobEvent {
        seq: row.seq,
        body: EventBody::of(&row.kind, &row.body),
        at: row.created_at,
    });
    Ok(events.collect())
}

/// The file that the job came to.
pub(crate) async fn find_file(tx: &mut TenantTx, id: JobId) -> Result<Option<JobFile>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT f.name AS "name!", f.media_type AS "media_type!", f.content AS "content!"
        FROM control.get_own_job_file($1) AS f
        "#,
        id.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| JobFile {
        name: row.name,
        media_type: row.media_type,
        content: row.content,
    }))
}

/// The times that the job was submitted for, as they were asked for.
pub(crate) async fn set_times(
    tx: &mut TenantTx,
    id: JobId,
    run_at: Option<DateTime<Utc>>,
    deadline: Option<DateTime<Utc>>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        SELECT control.set_own_job_times($1, $2, $3)::text AS nothing
        "#,
        id.uuid(),
        run_at,
        deadline,
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(())
}

/// Ends the job or asks for it; the state it is in then, `None` where there is no such job.
pub(crate) async fn cancel(tx: &mut TenantTx, id: JobId) -> Result<Option<String>, DbError> {
    let state = sqlx::query_scalar!(
        r#"
        SELECT control.cancel_own_job($1) AS state
        "#,
        id.uuid(),
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(state)
}

/// What came of running the job again.
pub(crate) enum Again {
    /// It waits.
    Queued,
    /// Its state is none of those from which it can be run.
    Refused,
    /// A live job has its key.
    Taken,
}

/// Runs the job again; `None` where there is no such job.
pub(crate) async fn retry(tx: &mut TenantTx, id: JobId) -> Result<Option<Again>, DbError> {
    let word = sqlx::query_scalar!(
        r#"
        SELECT control.retry_own_job($1) AS word
        "#,
        id.uuid(),
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(word.map(|word| match word.as_str() {
        "queued" => Again::Queued,
        "taken" => Again::Taken,
        _ => Again::Refused,
    }))
}
