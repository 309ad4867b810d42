//! The worker: an apalis worker over our backend, and the loops around it.

use std::{future::Future, sync::Arc, time::Duration};

use apalis::layers::WorkerBuilderExt;
use apalis_core::worker::{builder::WorkerBuilder, ext::parallelize::ParallelizeLayer};
use bulkhead_kernel::{clock::Clock, config};
use bulkhead_tenancy::Db;
use futures_util::FutureExt;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    DuplicateKind, Health, Registry,
    attempt::attempt,
    backend::{JobBackend, demands},
    cancels, due,
    engine::{Claimed, Engine},
    fetch, gauges, heartbeat, listen, presence, rescue,
    supervise::supervise,
};

/// What handing back may take after the grace is over; with it the worker ends within grace + 2 s.
const HAND_BACK: Duration = Duration::from_millis(1_500);

/// Runs the jobs of one registry. A process may have several; each is known to the table under a name of its own.
pub struct Worker {
    engine: Arc<Engine>,
    concurrency: usize,
    grace: Duration,
    health: Health,
}

impl Worker {
    /// A worker with one place and 20 s of grace. Refuses a registry in which two handlers claim one kind.
    pub fn new(db: Db, registry: Registry, settings: &config::Jobs) -> Result<Self, DuplicateKind> {
        registry.check()?;
        Ok(Self {
            engine: Engine::new(db, registry, settings.clone(), Clock::system()),
            concurrency: 1,
            grace: Duration::from_secs(20),
            health: Health::default(),
        })
    }

    /// How many jobs run at a time.
    #[must_use]
    pub const fn with_concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// How long running jobs may go on after the stop.
    #[must_use]
    pub const fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// A view for the readiness probe.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Takes jobs until `shutdown`, then lets running ones finish within the grace and hands back the rest. Ends within
    /// grace + 2 s of it, and never before it. Dropped, it takes no more jobs and hands back what runs.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self {
            engine,
            concurrency,
            grace,
            health,
        } = self;
        let drained = CancellationToken::new();
        let _when_dropped = [&engine.soft_stop, &engine.hard_stop, &drained].map(|stop| stop.clone().drop_guard());
        let background = background(&engine, concurrency, &drained);
        tracing::info!(worker = engine.name, concurrency, "the worker starts");
        let stopping = async {
            shutdown.cancelled().await;
            health.set(false);
            engine.soft_stop.cancel();
            Instant::now() + grace
        };
        let running = supervise("run", &engine.soft_stop, || {
            generation(engine.clone(), concurrency, health.clone())
        });
        let (end_of_grace, ()) = tokio::join!(stopping, running);
        drain(&engine, end_of_grace).await;
        drained.cancel();
        for task in background {
            // A loop that hangs in a statement is left to the end of the process.
            let _ = timeout(Duration::from_millis(100), task).await;
        }
        tracing::info!(worker = engine.name, "the worker has stopped");
    }
}

/// The loops beside the one that runs jobs. Leases are extended and cancels heard of until `drained`.
fn background(engine: &Arc<Engine>, concurrency: usize, drained: &CancellationToken) -> Vec<JoinHandle<()>> {
    let soft_stop = &engine.soft_stop;
    vec![
        keep("listen", engine, soft_stop, |engine, _| listen::run(engine)),
        keep("due", engine, soft_stop, |engine, _| due::run(engine)),
        keep("rescue", engine, soft_stop, |engine, _| rescue::run(engine)),
        keep("gauges", engine, soft_stop, |engine, _| gauges::run(engine)),
        keep("presence", engine, soft_stop, move |engine, _| {
            presence::run(engine, concurrency)
        }),
        keep("heartbeat", engine, drained, heartbeat::run),
        keep("cancels", engine, drained, cancels::run),
    ]
}

fn keep<Fut>(
    name: &'static str,
    engine: &Arc<Engine>,
    stop: &CancellationToken,
    run: impl Fn(Arc<Engine>, CancellationToken) -> Fut + Send + Sync + 'static,
) -> JoinHandle<()>
where
    Fut: Future<Output = ()> + Send + 'static,
{
    let (engine, stop) = (engine.clone(), stop.clone());
    tokio::spawn(async move { supervise(name, &stop, || run(engine.clone(), stop.clone())).await })
}

/// One life of the apalis worker and of the task that claims for it; when either ends, both do. Attempts go on, tracked
/// by the engine.
async fn generation(engine: Arc<Engine>, concurrency: usize, health: Health) {
    let (demand, demanded) = demands();
    let (returning, spawning, running) = (engine.clone(), engine.clone(), engine.clone());
    let backend = JobBackend::new(demand, move |unwanted: Claimed| {
        returning.release(unwanted);
    });
    let worker = WorkerBuilder::new(engine.name.as_str())
        .backend(backend)
        .concurrency(concurrency)
        .layer(ParallelizeLayer::new(move |job| spawning.attempts.spawn(job)))
        .build(move |claimed: Claimed| attempt(running.clone(), claimed));
    let mut loops = JoinSet::new();
    loops.spawn(worker.run().map(|ended| {
        if let Err(error) = ended {
            tracing::warn!(%error, "the apalis worker ended");
        }
    }));
    loops.spawn(fetch::serve(engine.clone(), concurrency, demanded));
    health.set(!engine.soft_stop.is_cancelled());
    let ended = loops.join_next().await;
    health.set(false);
    if let Some(Err(panic)) = ended {
        tracing::error!(%panic, "a part of the run loop broke");
    }
    // Waits until the backend is dropped, so that a job in its hands is given back before the drain is looked at.
    loops.shutdown().await;
}

/// Waits for the attempts, and after the grace makes them let go.
async fn drain(engine: &Engine, end_of_grace: Instant) {
    engine.attempts.close();
    if timeout_at(end_of_grace, engine.attempts.wait()).await.is_ok() {
        return;
    }
    tracing::warn!(
        n_left = engine.attempts.len(),
        "the grace is over; the rest is handed back"
    );
    engine.hard_stop.cancel();
    if timeout(HAND_BACK, engine.attempts.wait()).await.is_err() {
        tracing::error!(
            n_left = engine.attempts.len(),
            "some jobs could not be handed back; their leases run out"
        );
    }
}
