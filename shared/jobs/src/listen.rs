//! Wakes the worker when a job is enqueued. Without it jobs are found by polling, later.

use std::{sync::Arc, time::Duration};

use bulkhead_tenancy::DbError;

use crate::engine::Engine;

const CHANNEL: &str = "bulkhead_jobs";

/// The payload that tells of cancelled jobs; any other tells of due ones.
const CANCEL: &str = "cancel";

/// Between two tries to listen again.
const RETRY: Duration = Duration::from_millis(500);

/// Listens until the stop, over as many connections as it takes.
pub(crate) async fn run(engine: Arc<Engine>) {
    loop {
        let failure = tokio::select! {
            () = engine.soft_stop.cancelled() => return,
            failure = listen(&engine) => failure,
        };
        if let Err(error) = failure {
            tracing::debug!(error = &error as &dyn std::error::Error, "not listening for jobs");
        }
        if !engine.pause(RETRY).await {
            return;
        }
    }
}

/// Listens on one connection until it is lost. What was enqueued while nobody listened is looked for at once.
async fn listen(engine: &Engine) -> Result<(), DbError> {
    let mut listener = engine.db.listen(CHANNEL).await?;
    engine.wake.notify_one();
    engine.cancels.notify_one();
    while let Some(notification) = listener.try_recv().await? {
        match notification.payload() {
            CANCEL => engine.cancels.notify_one(),
            _ => engine.wake.notify_one(),
        }
    }
    Ok(())
}
