//! Tenants.

use bulkhead_jobs::Run;
use bulkhead_tenants::{
    TenantError,
    jobs::{MoveTenant, OnboardTenant},
    moves::{self, MoveError},
    onboarding,
};

pub(crate) async fn onboard(run: Run, job: OnboardTenant) -> Result<(), TenantError> {
    onboarding::run(&run, job).await
}

pub(crate) async fn carry_out_move(run: Run, job: MoveTenant) -> Result<(), MoveError> {
    moves::carry_out(run.db(), job.id, Some(&run)).await
}
