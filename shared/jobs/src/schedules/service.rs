//! What operators do with the schedules of a cluster.

use bulkhead_audit::{Actor, Event};
use bulkhead_kernel::origin::Origin;
use bulkhead_tenancy::{ControlTx, Db};
use tracing::instrument;

use super::{
    BadSchedule, ScheduleError, ScheduleName, Scheduled,
    store::{self, LockedRow},
    timing::Timing,
};

/// All schedules of the code's list, by name.
#[instrument(skip_all)]
pub async fn list(db: &Db) -> Result<Vec<Scheduled>, ScheduleError> {
    let mut tx = db.control().await?;
    let found = store::list(&mut tx, None).await?;
    tx.commit().await?;
    Ok(found)
}

/// Lets ticks pass without a job, from the next poll of the workers on. Done before: nothing.
#[instrument(skip_all)]
pub async fn pause(origin: &Origin, db: &Db, name: &ScheduleName) -> Result<Scheduled, ScheduleError> {
    let mut tx = db.control().await?;
    if !lock(&mut tx, name).await?.is_paused {
        store::set_paused(&mut tx, name.as_str(), true).await?;
        record(origin, &mut tx, "schedule.pause", name, Some(true)).await?;
    }
    seen(tx, name).await
}

/// Goes on with the first tick from now on; those of the pause are not caught up with. Done before: nothing.
#[instrument(skip_all)]
pub async fn resume(origin: &Origin, db: &Db, name: &ScheduleName) -> Result<Scheduled, ScheduleError> {
    let mut tx = db.control().await?;
    let row = lock(&mut tx, name).await?;
    if row.is_paused {
        let now = store::now(&mut tx).await?;
        let bad = |reason: String| BadSchedule {
            name: name.to_string(),
            reason,
        };
        let timing = Timing::parse(&row.expression, &row.time_zone).map_err(bad)?;
        let next = timing
            .next_after(now)
            .ok_or_else(|| bad("it never comes again".into()))?;
        store::set_paused(&mut tx, name.as_str(), false).await?;
        store::set_next(&mut tx, name.as_str(), None, next).await?;
        record(origin, &mut tx, "schedule.resume", name, Some(false)).await?;
    }
    seen(tx, name).await
}

/// Enqueues a job beside the ticks, paused or not, unless one with its unique key still waits or runs.
#[instrument(skip_all)]
pub async fn run_now(origin: &Origin, db: &Db, name: &ScheduleName) -> Result<Scheduled, ScheduleError> {
    let mut tx = db.control().await?;
    lock(&mut tx, name).await?;
    let now = store::now(&mut tx).await?;
    store::enqueue(&mut tx, name.as_str(), now, origin).await?;
    record(origin, &mut tx, "schedule.run_now", name, None).await?;
    seen(tx, name).await
}

async fn lock(tx: &mut ControlTx, name: &ScheduleName) -> Result<LockedRow, ScheduleError> {
    let found = store::lock(tx, name.as_str()).await?;
    found.ok_or(ScheduleError::NotFound)
}

/// How the schedule stands after what was done, which is committed.
async fn seen(mut tx: ControlTx, name: &ScheduleName) -> Result<Scheduled, ScheduleError> {
    let found = store::list(&mut tx, Some(name.as_str())).await?.pop();
    tx.commit().await?;
    found.ok_or(ScheduleError::NotFound)
}

async fn record(
    origin: &Origin,
    tx: &mut ControlTx,
    action: &'static str,
    name: &ScheduleName,
    is_paused: Option<bool>,
) -> Result<(), ScheduleError> {
    let mut event = Event::now(action, Actor::operator(origin), origin).on("schedule", name);
    if let Some(is_paused) = is_paused {
        event = event.change("is_paused", !is_paused, is_paused);
    }
    Ok(bulkhead_audit::record_of_platform(tx, event).await?)
}
