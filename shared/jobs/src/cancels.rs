//! Tells handlers that nobody wants their jobs any more.

use std::{sync::Arc, time::Duration};

use bulkhead_tenancy::DbError;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{engine::Engine, store};

/// Between two looks without notice.
const LOOK: Duration = Duration::from_secs(1);

/// Looks when it is told to and each second, also while the worker drains, until `stop`. Without jobs under way it asks
/// nothing.
pub(crate) async fn run(engine: Arc<Engine>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = engine.cancels.notified() => {}
            () = sleep(LOOK) => {}
        }
        // A statement that hangs must not keep the next one from being tried.
        if let Ok(Err(error)) = timeout(LOOK, look(&engine)).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "it is not known which jobs are cancelled"
            );
        }
    }
}

async fn look(engine: &Engine) -> Result<(), DbError> {
    let held = engine.inflight.list();
    if held.is_empty() {
        return Ok(());
    }
    let mut tx = engine.db.control().await?;
    let cancelled = store::list_cancelled(tx.conn(), &held).await?;
    tx.commit().await?;
    for token in cancelled {
        engine.inflight.cancel(token);
    }
    Ok(())
}
