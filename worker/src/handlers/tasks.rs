//! Work that tenants submit.

use bulkhead_jobs::{Outcome, Run};
use bulkhead_tasks::{self as tasks, AnnounceJob, ExportOwnTenant, ImportResources, ReportUsage};
use bulkhead_tenancy::DbError;
use bulkhead_tenants::archives::Archives;

pub(crate) async fn announce(run: Run, job: AnnounceJob) -> Result<(), DbError> {
    tasks::announce(&run, job).await
}

pub(crate) async fn report(run: Run, job: ReportUsage) -> Outcome {
    tasks::report(&run, job).await
}

pub(crate) async fn export(run: Run, _: ExportOwnTenant, archives: Archives) -> Outcome {
    tasks::export(&run, &archives).await
}

pub(crate) async fn import(run: Run, job: ImportResources) -> Outcome {
    tasks::import(&run, job).await
}
