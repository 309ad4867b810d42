//! The queue itself.

use bulkhead_jobs::{
    Run,
    retention::{self, PruneJobs},
};
use bulkhead_kernel::config::JobRetention;
use bulkhead_tenancy::DbError;

pub(crate) async fn prune(run: Run, _: PruneJobs, kept: JobRetention) -> Result<(), DbError> {
    retention::prune(&run, &kept).await
}
