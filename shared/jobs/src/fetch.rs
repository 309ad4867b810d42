//! Claims as many jobs as the worker has free places, and none without.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use crate::engine::{Claimed, Engine};

/// A free place in the worker, waiting for a job.
pub(crate) type Demand = oneshot::Sender<Claimed>;

/// The longest wait between two tries while the database does not answer.
const MAX_TROUBLE: Duration = Duration::from_secs(1);

/// How long a job waits for the place it was claimed for. Places ask one after the other, at once.
const UNWANTED: Duration = Duration::from_millis(500);

/// Serves the demands of one worker loop with so many places until it goes away or the engine stops.
pub(crate) async fn serve(engine: Arc<Engine>, concurrency: usize, mut demands: mpsc::Receiver<Demand>) {
    let mut ready = Ready {
        engine: engine.clone(),
        jobs: VecDeque::new(),
    };
    loop {
        let demand = tokio::select! {
            biased;
            () = engine.soft_stop.cancelled() => return,
            demand = demands.recv() => demand,
            () = sleep(UNWANTED), if !ready.jobs.is_empty() => {
                ready.release();
                continue;
            }
        };
        let Some(mut demand) = demand else { return };
        if ready.jobs.is_empty() {
            ready.jobs = claim_for(&engine, concurrency, &mut demand).await;
        }
        if engine.soft_stop.is_cancelled() {
            return;
        }
        if let Some(claimed) = ready.jobs.pop_front()
            && let Err(unwanted) = demand.send(claimed)
        {
            engine.release(unwanted);
        }
    }
}

/// Jobs for places that are free and about to ask. Handed back when this goes away.
struct Ready {
    engine: Arc<Engine>,
    jobs: VecDeque<Claimed>,
}

impl Ready {
    fn release(&mut self) {
        for unwanted in self.jobs.drain(..) {
            self.engine.release(unwanted);
        }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        self.release();
    }
}

/// Waits until jobs could be claimed; none when nobody wants one any more.
async fn claim_for(engine: &Arc<Engine>, concurrency: usize, demand: &mut Demand) -> VecDeque<Claimed> {
    let mut n_failures = 0_u32;
    while !demand.is_closed() && !engine.soft_stop.is_cancelled() {
        let n_free = concurrency.saturating_sub(engine.inflight.len()).max(1);
        let wait = match engine.claim(n_free).await {
            Ok(claimed) if claimed.is_empty() => idle(engine, &mut n_failures),
            Ok(claimed) => return claimed.into(),
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
    VecDeque::new()
}

fn idle(engine: &Engine, n_failures: &mut u32) -> Duration {
    if *n_failures > 0 {
        tracing::info!(n_failures, "jobs can be claimed again");
        *n_failures = 0;
    }
    engine.settings.poll
}
