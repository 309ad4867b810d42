//! What operators can do with jobs.

use bulkhead_audit::{Actor, Event};
use bulkhead_kernel::{
    ids::{JobId, TenantId},
    origin::Origin,
};
use bulkhead_tenancy::{ControlTx, Db};
use serde_json::Value;
use tracing::instrument;

use super::{AnyFilter, AnyJob, Bulk, Overview, store};
use crate::{State, TaskError, model::check_kind};

/// The most dead jobs that one call runs again.
const MAX_BULK: i64 = 1_000;

/// Tenants of an overview.
const BUSIEST: i64 = 20;

/// The jobs of the cluster of `db`, the newest first.
#[instrument(name = "platform.list_jobs", skip_all)]
pub async fn list(db: &Db, filter: &AnyFilter, limit: u32) -> Result<Vec<AnyJob>, TaskError> {
    if let Some(violation) = check_kind(filter.kind.as_deref()) {
        return Err(TaskError::Invalid(vec![violation]));
    }
    let mut tx = db.control().await?;
    let jobs = store::list(&mut tx, None, filter, limit).await?;
    tx.commit().await?;
    Ok(jobs)
}

/// A job, with its payload as it may be shown.
#[instrument(name = "platform.get_job", skip_all)]
pub async fn get(db: &Db, id: JobId) -> Result<AnyJob, TaskError> {
    let mut tx = db.control().await?;
    let job = find(&mut tx, id).await?;
    tx.commit().await?;
    Ok(job)
}

async fn find(tx: &mut ControlTx, id: JobId) -> Result<AnyJob, TaskError> {
    let found = store::list(tx, Some(id), &AnyFilter::default(), 1).await?.pop();
    found.ok_or(TaskError::NotFound)
}

/// Ends a job that waits; one that runs is asked to end. Cancelled before: nothing.
#[instrument(name = "platform.cancel_job", skip_all)]
pub async fn cancel(origin: &Origin, db: &Db, id: JobId) -> Result<AnyJob, TaskError> {
    let mut tx = db.control().await?;
    let before = find(&mut tx, id).await?;
    let state = store::cancel(&mut tx, id).await?.ok_or(TaskError::NotFound)?;
    if matches!(state.as_str(), "done" | "dead") {
        return Err(TaskError::State(before.state.as_str().into()));
    }
    let after = find(&mut tx, id).await?;
    if before.state != State::Cancelled {
        record(db, &mut tx, event("job.cancel", origin, &after), &after).await?;
    }
    tx.commit().await?;
    Ok(after)
}

/// Gives a job that failed or was cancelled all its attempts again.
#[instrument(name = "platform.retry_job", skip_all)]
pub async fn retry(origin: &Origin, db: &Db, id: JobId) -> Result<AnyJob, TaskError> {
    let mut tx = db.control().await?;
    let before = find(&mut tx, id).await?;
    if !matches!(before.state, State::Failed | State::Cancelled) {
        return Err(TaskError::State(before.state.as_str().into()));
    }
    match store::retry(&mut tx, id).await?.as_deref() {
        Some("queued") => {}
        Some("taken") => return Err(TaskError::Duplicate),
        // Somebody else was faster.
        _ => return Err(TaskError::State(find(&mut tx, id).await?.state.as_str().into())),
    }
    let after = find(&mut tx, id).await?;
    record(db, &mut tx, event("job.retry", origin, &after), &after).await?;
    tx.commit().await?;
    Ok(after)
}

/// Gives dead jobs of a type all their attempts again, of one tenant alone where one is named; at most 1,000 in a call.
#[instrument(name = "platform.retry_jobs", skip_all)]
pub async fn retry_dead(origin: &Origin, db: &Db, kind: &str, tenant: Option<TenantId>) -> Result<Bulk, TaskError> {
    let mut tx = db.control().await?;
    let bulk = store::retry_dead(&mut tx, kind, tenant, MAX_BULK).await?;
    let mut event = Event::now("job.retry_dead", Actor::operator(origin), origin)
        .change("type", Value::Null, kind)
        .change("retried", Value::Null, bulk.retried);
    if let Some(tenant) = tenant {
        event = event.on("tenant", tenant);
    }
    record_of_platform(db, &mut tx, event).await?;
    tx.commit().await?;
    Ok(bulk)
}

/// How the queues of the cluster of `db` stand.
#[instrument(name = "platform.overview", skip_all)]
pub async fn overview(db: &Db) -> Result<Overview, TaskError> {
    let mut tx = db.control().await?;
    let overview = Overview {
        kinds: store::depths(&mut tx).await?,
        tenants: store::list_busiest(&mut tx, BUSIEST).await?,
        workers: store::list_workers(&mut tx).await?,
    };
    tx.commit().await?;
    Ok(overview)
}

fn event(action: &'static str, origin: &Origin, after: &AnyJob) -> Event {
    Event::now(action, Actor::operator(origin), origin)
        .on("job", after.id)
        .change("type", Value::Null, after.kind.as_str())
        .change("state", Value::Null, after.state.as_str())
}

/// In the log of the platform, and in that of the tenant whose job it is.
async fn record(db: &Db, tx: &mut ControlTx, event: Event, job: &AnyJob) -> Result<(), TaskError> {
    let Some(tenant) = job.tenant else {
        return record_of_platform(db, tx, event).await;
    };
    if db.cluster().is_home() {
        return Ok(bulkhead_audit::record_for(tx, tenant, event).await?);
    }
    let mut home = db.home().control().await?;
    bulkhead_audit::record_for(&mut home, tenant, event).await?;
    Ok(home.commit().await?)
}

/// The platform's log is at home: of a job elsewhere it tells a moment before it is true.
async fn record_of_platform(db: &Db, tx: &mut ControlTx, event: Event) -> Result<(), TaskError> {
    if db.cluster().is_home() {
        return Ok(bulkhead_audit::record_of_platform(tx, event).await?);
    }
    let mut home = db.home().control().await?;
    bulkhead_audit::record_of_platform(&mut home, event).await?;
    Ok(home.commit().await?)
}
