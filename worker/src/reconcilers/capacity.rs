//! How much of each cluster is used.

use std::{error::Error, time::Duration};

use bulkhead_tenancy::Db;
use bulkhead_tenants::capacity::service::{EVERY, measure};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Between two looks at what is known, so that the gauges of all workers agree soon.
const LOOK: Duration = Duration::from_secs(15);

/// Measures until it is told to stop.
pub(crate) async fn run(db: Db, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = measure(&db, EVERY).await {
            tracing::warn!(
                error = &error as &dyn Error,
                "it is not known how much of the clusters is used"
            );
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(LOOK) => {}
        }
    }
}
