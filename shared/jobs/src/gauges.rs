//! How many jobs wait, for `/metrics`. One worker counts for all: whoever finds the last count too old.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bulkhead_kernel::telemetry::metrics;
use bulkhead_tenancy::DbError;

use crate::{
    Queue,
    engine::Engine,
    store::{self, Depth},
};

/// How old a count becomes.
const EVERY: Duration = Duration::from_secs(15);

/// Jobs of one kind in one state that are counted; more look like so many.
const BOUND: i64 = 10_000;

/// Brings the gauges to what was counted last, until the stop.
pub(crate) async fn run(engine: Arc<Engine>) {
    let mut shown = HashMap::new();
    loop {
        match depths(&engine).await {
            Ok(depths) => show(&engine, depths, &mut shown),
            Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "jobs could not be counted"),
        }
        if !engine.pause(EVERY).await {
            return;
        }
    }
}

async fn depths(engine: &Engine) -> Result<Vec<Depth>, DbError> {
    let mut tx = engine.db.control().await?;
    store::count_if_due(tx.conn(), EVERY, BOUND).await?;
    let depths = store::list_depths(tx.conn()).await?;
    tx.commit().await?;
    Ok(depths)
}

/// What is gone from the count is shown as none.
fn show(engine: &Engine, depths: Vec<Depth>, shown: &mut HashMap<String, &'static str>) {
    let gone = shown.iter().map(|(kind, queue)| Depth::none(kind, queue));
    let gone: Vec<Depth> = gone
        .filter(|none| depths.iter().all(|depth| depth.kind != none.kind))
        .collect();
    for depth in depths.into_iter().chain(gone) {
        let queue = Queue::label(&depth.queue);
        let cluster = engine.db.cluster().as_str();
        for (state, n) in [
            ("queued", depth.queued),
            ("delayed", depth.delayed),
            ("parked", depth.parked),
            ("running", depth.running),
            ("dead", depth.dead),
        ] {
            metrics::jobs_depth(cluster, &depth.kind, queue, state).set(f64::from(n));
        }
        metrics::jobs_oldest_wait(cluster, &depth.kind, queue).set(depth.oldest_secs);
        shown.insert(depth.kind, queue);
    }
}
