//! Tenants.

use bulkhead_jobs::Run;
use bulkhead_tenants::{TenantError, jobs::OnboardTenant, onboarding};

pub(crate) async fn onboard(run: Run, job: OnboardTenant) -> Result<(), TenantError> {
    onboarding::run(&run, job).await
}
