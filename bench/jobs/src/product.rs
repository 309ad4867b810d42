//! The product's own worker in this process.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Instant,
};

use bulkhead_jobs::{Job, Outcome, Owner, Registry, Worker, enqueue_for};
use bulkhead_kernel::{
    config::{Config, ConfigSource},
    origin::Origin,
};
use bulkhead_tenancy::Db;
use serde::{Deserialize, Serialize};
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::database::Server;

/// Nothing to do but to say when it starts.
#[derive(Serialize, Deserialize)]
pub(crate) struct Noop {
    pub(crate) n: usize,
}

impl Job for Noop {
    const KIND: &'static str = "bench.noop";
}

pub(crate) struct Product<'a> {
    pub(crate) server: &'a Server,
    pub(crate) db: Db,
    config: Config,
    places: usize,
    /// When each job started, by its number.
    pub(crate) started: Arc<Mutex<Vec<(usize, Instant)>>>,
    pub(crate) n_started: Arc<AtomicUsize>,
    pub(crate) one_started: Arc<Notify>,
}

/// A worker that runs until it is ended.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        self.stop.cancel();
        Ok(self.task.await?)
    }
}

impl<'a> Product<'a> {
    pub(crate) async fn new(server: &'a Server, places: usize) -> anyhow::Result<Self> {
        let env = [
            ("OWNER_URL", server.url("postgres")),
            ("CONTROL_URL", server.url("bulkhead_control")),
            ("TENANT_URL", server.url("bulkhead_tenant")),
            ("CONTROL_CONNECTIONS", places.to_string()),
        ]
        .map(|(name, value)| (format!("BULKHEAD__DATABASE__{name}"), value));
        let config =
            Config::load_for(ConfigSource::from_env(env), &[]).map_err(|mistakes| anyhow::anyhow!("{mistakes}"))?;
        Ok(Self {
            server,
            db: Db::new(&config.database)?,
            config,
            places,
            started: Arc::default(),
            n_started: Arc::default(),
            one_started: Arc::default(),
        })
    }

    pub(crate) fn start(&self) -> anyhow::Result<Running> {
        let (started, n_started, one_started) =
            (self.started.clone(), self.n_started.clone(), self.one_started.clone());
        let registry = Registry::new().handle::<Noop, _, _>(move |_, job| {
            started.lock().expect("nobody panics").push((job.n, Instant::now()));
            n_started.fetch_add(1, SeqCst);
            one_started.notify_one();
            async { Outcome::Done }
        });
        let worker = Worker::new(self.db.clone(), registry, &self.config.jobs)?.with_concurrency(self.places);
        let stop = CancellationToken::new();
        let task = tokio::spawn(worker.run(stop.clone()));
        Ok(Running { stop, task })
    }

    /// As a request does it, in a transaction of its own.
    pub(crate) async fn enqueue(&self, n: usize) -> anyhow::Result<()> {
        let origin = Origin {
            principal: "bench".into(),
            request_id: "bench".into(),
            traceparent: None,
            address: None,
            agent: None,
        };
        let mut tx = self.db.control().await?;
        enqueue_for(&origin, &mut tx, Owner::Platform, &Noop { n }).await?;
        Ok(tx.commit().await?)
    }

    /// Jobs in a second.
    pub(crate) async fn rate(&self, n_jobs: usize) -> anyhow::Result<f64> {
        let fill = format!(
            "TRUNCATE control.jobs CASCADE; \
             INSERT INTO control.jobs (id, kind, queue, payload, max_attempts, principal, request_id) \
             SELECT gen_random_uuid(), 'bench.noop', 'default', jsonb_build_object('n', n), 8, 'bench', 'bench' \
             FROM generate_series(1, {n_jobs}) AS n; VACUUM ANALYZE control.jobs"
        );
        self.server.run(&fill).await?;
        self.n_started.store(0, SeqCst);
        self.started.lock().expect("nobody panics").clear();
        let began = Instant::now();
        let running = self.start()?;
        while self.n_started.load(SeqCst) < n_jobs {
            self.one_started.notified().await;
        }
        let undone =
            "SELECT count(*) FROM (SELECT FROM control.jobs WHERE state IN ('queued', 'running') LIMIT 1) AS some";
        self.server
            .until(undone.replace("some", "left_over").as_str(), 0)
            .await?;
        let took = began.elapsed().as_secs_f64();
        running.end().await?;
        Ok(n_jobs as f64 / took)
    }
}
