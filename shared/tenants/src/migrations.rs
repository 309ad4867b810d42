//! Migrations of the fleet as a job: whoever steers a run through the API has a worker carry it out.

use bulkhead_audit::{Actor, Event};
use bulkhead_jobs::{Owner, Run, enqueue_for};
use bulkhead_kernel::{
    ids::{MigrationRunId, TenantId},
    origin::Origin,
};
use bulkhead_tenancy::{
    ControlTx, Db,
    fleet::{self, Fleet, FleetError, Options, RunStatus},
};

use crate::jobs::RunMigrations;

/// Starts a run; [`FleetError::Open`] while another one is open.
pub async fn start(origin: &Origin, db: &Db, fleet: &Fleet, options: &Options) -> Result<RunStatus, FleetError> {
    let mut tx = db.control().await?;
    let (run, is_new) = fleet.start(&mut tx, options, &origin.principal).await?;
    if !is_new {
        return Err(FleetError::Open);
    }
    let status = hand_on(origin, &mut tx, run).await?;
    record(origin, &mut tx, "migration.start", run).await?;
    tx.commit().await?;
    Ok(status)
}

/// Lets the tenants under way finish and starts no more.
pub async fn pause(origin: &Origin, db: &Db, run: MigrationRunId) -> Result<RunStatus, FleetError> {
    let mut tx = db.control().await?;
    fleet::pause(&mut tx, run).await?;
    let status = fleet::get(&mut tx, run).await?;
    record(origin, &mut tx, "migration.pause", run).await?;
    tx.commit().await?;
    Ok(status)
}

/// Lets a run go on, also one whose process has died.
pub async fn resume(origin: &Origin, db: &Db, run: MigrationRunId) -> Result<RunStatus, FleetError> {
    let mut tx = db.control().await?;
    fleet::resume(&mut tx, run).await?;
    let status = hand_on(origin, &mut tx, run).await?;
    record(origin, &mut tx, "migration.resume", run).await?;
    tx.commit().await?;
    Ok(status)
}

/// Tries failed tenants again, all of them or these.
pub async fn retry(
    origin: &Origin,
    db: &Db,
    run: MigrationRunId,
    tenants: Option<&[TenantId]>,
) -> Result<RunStatus, FleetError> {
    let mut tx = db.control().await?;
    fleet::retry(&mut tx, run, tenants).await?;
    let status = hand_on(origin, &mut tx, run).await?;
    record(origin, &mut tx, "migration.retry", run).await?;
    tx.commit().await?;
    Ok(status)
}

async fn hand_on(origin: &Origin, tx: &mut ControlTx, run: MigrationRunId) -> Result<RunStatus, FleetError> {
    let status = fleet::get(tx, run).await?;
    if !status.state.is_finished() {
        enqueue_for(origin, tx, Owner::Platform, &RunMigrations { run }).await?;
    }
    Ok(status)
}

async fn record(
    origin: &Origin,
    tx: &mut ControlTx,
    action: &'static str,
    run: MigrationRunId,
) -> Result<(), FleetError> {
    let event = Event::now(action, Actor::operator(origin), origin).on("migration", run);
    Ok(bulkhead_audit::record_of_platform(tx, event).await?)
}

/// Carries a run out. That a tenant failed, or that the run was stopped, is the run's affair and no failure of the job.
pub async fn carry_out(job: &Run, fleet: &Fleet, run: MigrationRunId) -> Result<(), FleetError> {
    let status = fleet.carry_out(run).await?;
    tracing::info!(
        migration.run = %status.id,
        migration.state = status.state.as_str(),
        migration.done = status.counts.done,
        migration.failed = status.counts.failed,
        job.id = %job.job,
        "a migration of the fleet was carried out"
    );
    Ok(())
}
