//! Migrations of the whole fleet: one run brings every tenant that is behind to one version (docs/adr/0007).
//!
//! - A tenant's migration, its version in the registry and its row of the run commit together. Killed anywhere, a run
//!   goes on where it was; nothing is done twice and nothing is half done.
//! - Tenants go in rings: canaries, 1 %, 10 %, 100 %. A ring begins when the one before it has ended. A failed canary, or
//!   more failed tenants than the budget allows, stops the run between two tenants.
//! - A runner holds the run by a lease, and each tenant by an advisory lock of the transaction, under which it looks at
//!   the version. Two runners that both believe in their lease can waste time and nothing else.
//! - A tenant that cannot be migrated is named with its error, stays at its version and is served there; the others go on.
//!
//! Raising a version leaves the tenant's epoch alone: entering a tenant compares the version itself, and nothing that a
//! router remembers depends on it.
//!
//! Absent here: going back, and any change of `control`.

pub mod drift;
mod error;
mod model;
mod plan;
mod run;
mod store;
mod tenant;

use std::sync::Arc;

use bulkhead_kernel::{
    ids::MigrationRunId,
    page::{Page, PageRequest},
};

pub use error::FleetError;
pub use model::{
    Budget, Counts, MalformedBudget, MigratedTenant, Options, Plan, PlannedVersion, RING_NAMES, RunState, RunStatus,
    TenantMigration,
};

use crate::{ControlTx, Db, Lineage};

/// All tenants of an installation, and what leads them from version to version. Cheap to clone.
#[derive(Clone)]
pub struct Fleet {
    db: Db,
    lineage: Arc<Lineage>,
}

impl Fleet {
    /// The fleet behind `db`, led by the migrations of this build or by others.
    #[must_use]
    pub fn new(db: Db, lineage: Lineage) -> Self {
        Self {
            db,
            lineage: Arc::new(lineage),
        }
    }
}

/// Runs, the newest first.
pub async fn list(tx: &mut ControlTx, page: PageRequest) -> Result<Page<RunStatus>, FleetError> {
    Ok(store::list_runs(tx.conn(), page).await?)
}

/// One run.
pub async fn get(tx: &mut ControlTx, run: MigrationRunId) -> Result<RunStatus, FleetError> {
    store::find_run(tx.conn(), run).await?.ok_or(FleetError::NotFound)
}

/// The newest run, open or finished.
pub async fn newest(tx: &mut ControlTx) -> Result<Option<RunStatus>, FleetError> {
    let first = PageRequest::new(1, 1).ok_or(FleetError::NotFound)?;
    Ok(store::list_runs(tx.conn(), first).await?.items.pop())
}

/// The tenants of a run that failed or were skipped, with the reason; at most 1,000.
pub async fn named(tx: &mut ControlTx, run: MigrationRunId) -> Result<Vec<MigratedTenant>, FleetError> {
    Ok(store::list_named(tx.conn(), run).await?)
}

/// Lets the tenants under way finish and starts no more.
pub async fn pause(tx: &mut ControlTx, run: MigrationRunId) -> Result<(), FleetError> {
    let state = lock(tx, run).await?;
    match state {
        RunState::Paused => Ok(()),
        RunState::Running => Ok(store::set_state(tx.conn(), run, RunState::Paused, Some("paused by hand")).await?),
        state => Err(FleetError::State(state)),
    }
}

/// Lets a paused or stopped run go on; what failed so far is accepted and no longer counts against the budget. Somebody
/// has to carry it out.
pub async fn resume(tx: &mut ControlTx, run: MigrationRunId) -> Result<(), FleetError> {
    match lock(tx, run).await? {
        state if state.is_finished() => Err(FleetError::State(state)),
        RunState::Running => Ok(()),
        _ => {
            store::accept_failures(tx.conn(), run).await?;
            Ok(store::set_state(tx.conn(), run, RunState::Running, None).await?)
        }
    }
}

/// Tries failed tenants again, all of them or these; gives how many. A run that had finished is open again. Somebody has
/// to carry it out.
pub async fn retry(
    tx: &mut ControlTx,
    run: MigrationRunId,
    tenants: Option<&[bulkhead_kernel::ids::TenantId]>,
) -> Result<u64, FleetError> {
    let state = lock(tx, run).await?;
    if !matches!(
        state,
        RunState::Running | RunState::Paused | RunState::Stopped | RunState::Failed
    ) {
        return Err(FleetError::State(state));
    }
    let n = store::retry_failed(tx.conn(), run, tenants).await?;
    if n > 0 {
        store::accept_failures(tx.conn(), run).await?;
        store::set_state(tx.conn(), run, RunState::Running, None).await?;
    }
    Ok(n)
}

async fn lock(tx: &mut ControlTx, run: MigrationRunId) -> Result<RunState, FleetError> {
    let locked = store::lock_run(tx.conn(), run).await?;
    Ok(locked.ok_or(FleetError::NotFound)?.state)
}
