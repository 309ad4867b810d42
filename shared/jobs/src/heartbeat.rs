//! Keeps the leases of running attempts.

use std::sync::Arc;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;

/// Extends all leases every third of a lease, also while the worker drains, until `stop`.
pub(crate) async fn run(engine: Arc<Engine>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(engine.settings.heartbeat()) => {}
        }
        // A statement that hangs must not keep the next one from being tried.
        let beat = tokio::time::timeout(engine.settings.heartbeat(), engine.beat()).await;
        if let Ok(Err(error)) = beat {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the leases could not be extended"
            );
        }
    }
}
