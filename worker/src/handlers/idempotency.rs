//! Idempotency keys.

use bulkhead_iam::idempotency::jobs::{self, PruneIdempotencyKeys};
use bulkhead_jobs::Run;
use bulkhead_tenancy::DbError;

pub(crate) async fn prune(run: Run, _: PruneIdempotencyKeys) -> Result<(), DbError> {
    jobs::prune(&run).await
}
