//! Jobs whose time has come. Until then they are in no index that a claim reads.

use std::sync::Arc;

use bulkhead_tenancy::DbError;

use crate::{engine::Engine, store};

/// Jobs marked in one transaction.
const BATCH: u16 = 1_000;

/// Looks at every poll until the stop, also while all places are taken: others may have some.
pub(crate) async fn run(engine: Arc<Engine>) {
    while engine.pause(engine.settings.poll).await {
        match make_due(&engine).await {
            Ok(false) => {}
            Ok(true) => engine.wake.notify_one(),
            Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "no jobs could be made due"),
        }
    }
}

/// Whether there were any.
async fn make_due(engine: &Engine) -> Result<bool, DbError> {
    let mut n_due = 0;
    loop {
        let mut tx = engine.db.control().await?;
        let n = store::make_due(tx.conn(), BATCH.into()).await?;
        tx.commit().await?;
        n_due += n;
        if n < u64::from(BATCH) {
            return Ok(n_due > 0);
        }
    }
}
