//! Sessions.

use bulkhead_iam::sessions::jobs::{self, PruneSessions};
use bulkhead_jobs::Run;
use bulkhead_tenancy::DbError;

pub(crate) async fn prune(run: Run, _: PruneSessions) -> Result<(), DbError> {
    jobs::prune(&run).await
}
