//! Migrations of the fleet.

use bulkhead_jobs::{IntoOutcome as _, Outcome, Run};
use bulkhead_tenancy::{
    Lineage,
    fleet::{Fleet, FleetError},
};
use bulkhead_tenants::{jobs::RunMigrations, migrations};

pub(crate) async fn run(run: Run, job: RunMigrations, lineage: Lineage) -> Outcome {
    let fleet = Fleet::new(run.db().clone(), lineage);
    match migrations::carry_out(&run, &fleet, job.run).await {
        // Another process is at it; should that one die, this job takes over.
        Err(FleetError::Leased(_)) => Outcome::Snooze(AGAIN_AFTER),
        result => result.into_outcome(),
    }
}

/// Between two looks whether the process that carries a run out is still there.
const AGAIN_AFTER: std::time::Duration = std::time::Duration::from_secs(10);
