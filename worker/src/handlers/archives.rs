//! Archives of tenants.

use bulkhead_compute::imported;
use bulkhead_jobs::Run;
use bulkhead_tenants::archives::{
    ArchiveError, Archives, export, import,
    jobs::{ExportTenant, ImportTenant},
};

pub(crate) async fn write(run: Run, job: ExportTenant, archives: Archives) -> Result<(), ArchiveError> {
    export::run(&run, job, &archives).await
}

pub(crate) async fn load(run: Run, job: ImportTenant, archives: Archives) -> Result<(), ArchiveError> {
    import::run(&run, job, &archives, imported::part).await
}
