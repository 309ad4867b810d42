//! Claims one job for each request of the worker, and none without.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use crate::engine::{Claimed, Engine};

/// A free place in the worker, waiting for a job.
pub(crate) type Demand = oneshot::Sender<Claimed>;

/// The longest wait between two tries while the database does not answer.
const MAX_TROUBLE: Duration = Duration::from_secs(1);

/// Serves the demands of one worker loop until it goes away or the engine stops.
pub(crate) async fn serve(engine: Arc<Engine>, mut demands: mpsc::Receiver<Demand>) {
    loop {
        let demand = tokio::select! {
            () = engine.soft_stop.cancelled() => return,
            demand = demands.recv() => demand,
        };
        let Some(mut demand) = demand else { return };
        let Some(claimed) = claim_for(&engine, &mut demand).await else {
            continue;
        };
        if engine.soft_stop.is_cancelled() {
            engine.release(claimed).await;
        } else if let Err(unwanted) = demand.send(claimed) {
            engine.release(unwanted).await;
        }
    }
}

/// Waits until a job could be claimed; `None` when nobody wants one any more.
async fn claim_for(engine: &Engine, demand: &mut Demand) -> Option<Claimed> {
    let mut n_failures = 0_u32;
    while !demand.is_closed() && !engine.soft_stop.is_cancelled() {
        let wait = match engine.claim().await {
            Ok(Some(claimed)) => return Some(claimed),
            Ok(None) => idle(engine, &mut n_failures),
            Err(error) => {
                if n_failures == 0 {
                    tracing::warn!(error = &error as &dyn std::error::Error, "no jobs can be claimed");
                }
                n_failures = n_failures.saturating_add(1);
                Duration::from_millis(50)
                    .saturating_mul(1 << n_failures.min(10))
                    .min(MAX_TROUBLE)
            }
        };
        tokio::select! {
            () = engine.soft_stop.cancelled() => {}
            () = demand.closed() => {}
            () = engine.wake.notified(), if n_failures == 0 => {}
            () = sleep(wait) => {}
        }
    }
    None
}

fn idle(engine: &Engine, n_failures: &mut u32) -> Duration {
    if *n_failures > 0 {
        tracing::info!(n_failures, "jobs can be claimed again");
        *n_failures = 0;
    }
    engine.settings.poll
}
