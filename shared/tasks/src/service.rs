//! What a tenant can do with its jobs.

use bulkhead_iam::{
    Scope,
    idempotency::Keyed,
    permissions::Permission,
    standing::{self, Standing},
};
use bulkhead_jobs::{JobFile, enqueue};
use bulkhead_kernel::ids::JobId;
use bulkhead_tenancy::{Db, TenantTx};
use serde_json::Value;
use tracing::instrument;

use crate::{
    JobEvent, JobFilter, OwnJob, Submission, Task, TaskError,
    idempotency::Answer,
    model::check_kind,
    store::{self, Again},
    task::Wanted,
};

/// Events that are read at once.
const EVENTS: i32 = 100;

/// Submits a task. Under an idempotency key the same request is answered the same way without a second job.
#[instrument(name = "tasks.submit", skip_all)]
pub async fn submit(
    scope: &Scope,
    tx: &mut TenantTx,
    wanted: &Submission,
    key: Option<&str>,
) -> Result<OwnJob, TaskError> {
    scope.require(Permission::JobCreate)?;
    let task = wanted.task().map_err(TaskError::Invalid)?;
    task.require(&Standing::of(scope))?;
    let now = scope.clock.now();
    let parsed = wanted.parse(task, now).map_err(TaskError::Invalid)?;
    let body = (&wanted.kind, &wanted.params, &wanted.run_at, &wanted.deadline);
    let key = key.map(|key| Keyed::new(&scope.origin.principal, "POST /jobs", key, &body));
    let key = key.transpose()?;
    if let Some(key) = &key
        && let Some(earlier) = key.claim::<Answer>(tx, 202, now).await?
    {
        return Ok(earlier.into());
    }
    let id = match &parsed {
        Wanted::Report(job) => enqueue(&scope.origin, tx, job).await?,
        Wanted::Export(job) => enqueue(&scope.origin, tx, job).await?,
        Wanted::Import(job) => enqueue(&scope.origin, tx, job).await?,
    };
    let id = id.ok_or(TaskError::Duplicate)?;
    let run_at = wanted.run_at.filter(|run_at| *run_at > now);
    if run_at.is_some() || wanted.deadline.is_some() {
        store::set_times(tx, id, run_at, wanted.deadline).await?;
    }
    let event = scope
        .event("job.create")
        .on("job", id)
        .change("type", Value::Null, task.as_str());
    bulkhead_audit::record(tx, event).await?;
    let job = find(tx, id).await?;
    if let Some(key) = &key {
        key.keep(tx, &location(id), &Answer::from(&job)).await?;
    }
    Ok(job)
}

fn location(id: JobId) -> String {
    format!("/api/v1/jobs/{id}")
}

/// The tenant's jobs, the newest first.
#[instrument(name = "tasks.list", skip_all)]
pub async fn list(scope: &Scope, tx: &mut TenantTx, filter: &JobFilter, limit: u32) -> Result<Vec<OwnJob>, TaskError> {
    scope.require(Permission::JobRead)?;
    if let Some(violation) = check_kind(filter.kind.as_deref()) {
        return Err(TaskError::Invalid(vec![violation]));
    }
    Ok(store::list(tx, None, filter, limit).await?)
}

/// A job.
#[instrument(name = "tasks.get", skip_all)]
pub async fn get(scope: &Scope, tx: &mut TenantTx, id: JobId) -> Result<OwnJob, TaskError> {
    scope.require(Permission::JobRead)?;
    find(tx, id).await
}

async fn find(tx: &mut TenantTx, id: JobId) -> Result<OwnJob, TaskError> {
    store::find(tx, id).await?.ok_or(TaskError::NotFound)
}

/// What a task came to is for those who may have it done.
fn require_task(job: &OwnJob, standing: &Standing) -> Result<(), TaskError> {
    match Task::find(&job.kind) {
        Some(task) => Ok(task.require(standing)?),
        None => Ok(()),
    }
}

/// The file that a job came to.
#[instrument(name = "tasks.get_file", skip_all)]
pub async fn get_file(scope: &Scope, tx: &mut TenantTx, id: JobId) -> Result<JobFile, TaskError> {
    let job = get(scope, tx, id).await?;
    require_task(&job, &Standing::of(scope))?;
    store::find_file(tx, id).await?.ok_or(TaskError::NotFound)
}

/// Ends a job that waits; one that runs is asked to end, and does so within seconds. Cancelled before: nothing.
#[instrument(name = "tasks.cancel", skip_all)]
pub async fn cancel(scope: &Scope, tx: &mut TenantTx, id: JobId) -> Result<OwnJob, TaskError> {
    scope.require(Permission::JobCancel)?;
    let before = find(tx, id).await?;
    let state = store::cancel(tx, id).await?.ok_or(TaskError::NotFound)?;
    let after = find(tx, id).await?;
    if matches!(state.as_str(), "done" | "dead") {
        return Err(TaskError::State(after.state.as_str().into()));
    }
    if !before.state.has_ended() && !before.is_cancel_requested {
        let event =
            scope
                .event("job.cancel")
                .on("job", id)
                .change("state", before.state.as_str(), after.state.as_str());
        bulkhead_audit::record(tx, event).await?;
    }
    Ok(after)
}

/// Gives a job that failed or was cancelled all its attempts again; it goes on where it was. Under an idempotency key the
/// same request is answered the same way without doing it twice.
#[instrument(name = "tasks.retry", skip_all)]
pub async fn retry(scope: &Scope, tx: &mut TenantTx, id: JobId, key: Option<&str>) -> Result<OwnJob, TaskError> {
    scope.require(Permission::JobRetry)?;
    let key = key.map(|key| Keyed::new(&scope.origin.principal, "POST /jobs/{id}/retry", key, &id));
    let key = key.transpose()?;
    let before = find(tx, id).await?;
    require_task(&before, &Standing::of(scope))?;
    if let Some(key) = &key
        && let Some(earlier) = key.claim::<Answer>(tx, 202, scope.clock.now()).await?
    {
        return Ok(earlier.into());
    }
    match store::retry(tx, id).await?.ok_or(TaskError::NotFound)? {
        Again::Queued => {}
        Again::Taken => return Err(TaskError::Duplicate),
        Again::Refused => return Err(TaskError::State(before.state.as_str().into())),
    }
    let after = find(tx, id).await?;
    let event = scope
        .event("job.retry")
        .on("job", id)
        .change("state", before.state.as_str(), after.state.as_str());
    bulkhead_audit::record(tx, event).await?;
    if let Some(key) = &key {
        key.keep(tx, &location(id), &Answer::from(&after)).await?;
    }
    Ok(after)
}

/// The job and what happened to it after the event of this number, for whoever may still see it at this moment: a stream
/// stays open longer than rights do.
#[instrument(name = "tasks.watch", skip_all)]
pub async fn watch(scope: &Scope, db: &Db, id: JobId, after: i32) -> Result<(OwnJob, Vec<JobEvent>), TaskError> {
    let mut tx = db.tenant(scope.tenant.id).await?;
    let standing = standing::find(db, &mut tx, &scope.origin.principal, scope.clock.now()).await?;
    standing.require(Permission::JobRead)?;
    // The job first: where it has ended, its last event is there as well.
    let job = find(&mut tx, id).await?;
    let events = store::list_events(&mut tx, id, after, EVENTS).await?;
    tx.commit().await?;
    Ok((job, events))
}

/// The number of an event in `Last-Event-ID`; what is none of ours begins at the first.
#[must_use]
pub fn parse_event_id(text: &str) -> i32 {
    text.parse().ok().filter(|seq| *seq >= 0).unwrap_or_default()
}
