//! An apalis worker over stock apalis-postgres: its defaults, with which it fetches ten jobs ahead and
//! writes their results behind the next ones.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use apalis::layers::WorkerBuilderExt;
use apalis_core::{
    backend::TaskSink,
    task::builder::TaskBuilder,
    worker::{builder::WorkerBuilder, ext::parallelize::ParallelizeLayer},
};
use apalis_postgres::{Config, PgPool, PostgresStorage};
use sqlx::postgres::PgPoolOptions;
use tokio::sync::Notify;

use crate::database::Server;

const QUEUE: &str = "bench";

/// How long a round may take.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Stock<'a> {
    server: &'a Server,
    pool: PgPool,
    places: usize,
}

impl<'a> Stock<'a> {
    pub(crate) async fn new(server: &'a Server, places: usize) -> anyhow::Result<Self> {
        // Two more than it has places, in its favour: it fetches and keeps alive beside them.
        let connections = u32::try_from(places)? + 2;
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .connect(&server.url("postgres"))
            .await?;
        PostgresStorage::setup(&pool).await?;
        Ok(Self { server, pool, places })
    }

    /// Jobs in a second.
    pub(crate) async fn rate(&self, n_jobs: usize) -> anyhow::Result<f64> {
        self.server.run("TRUNCATE apalis.jobs CASCADE").await?;
        let config = || Config::default().queue(QUEUE);
        let mut storage = PostgresStorage::<usize>::new(&self.pool).with_config(config());
        let tasks: Vec<_> = (0..n_jobs).map(|n| TaskBuilder::new(n).build()).collect();
        let mut tasks = futures_util::stream::iter(tasks);
        storage.push_all(&mut tasks).await?;
        self.server.run("VACUUM ANALYZE apalis.jobs").await?;
        let (n_run, one_run) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (running, telling) = (n_run.clone(), one_run.clone());
        let began = Instant::now();
        let worker = WorkerBuilder::new(format!("bench-{}", uuid::Uuid::now_v7()))
            .backend(PostgresStorage::<usize>::new(&self.pool).with_config(config()))
            .concurrency(self.places)
            .layer(ParallelizeLayer::new(|job| tokio::spawn(job)))
            .build(move |_: usize| {
                running.fetch_add(1, SeqCst);
                telling.notify_one();
                async { Ok::<_, Infallible>(()) }
            });
        let done = format!("SELECT count(*) FROM apalis.jobs WHERE status = 'Done' AND job_type = '{QUEUE}'");
        let settled = async {
            while n_run.load(SeqCst) < n_jobs {
                one_run.notified().await;
            }
            self.server.until(&done, i64::try_from(n_jobs)?).await
        };
        tokio::select! {
            ended = worker.run() => anyhow::bail!("the stock worker ended: {:?}", ended.err()),
            settled = tokio::time::timeout(PATIENCE, settled) => settled??,
        }
        let took = began.elapsed().as_secs_f64();
        Ok(n_jobs as f64 / took)
    }
}
