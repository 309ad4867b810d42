//! A worker process whose jobs leave countable effects: this program started once more, with another part to play.

use std::{process::ExitCode, time::Duration};

use bulkhead_jobs::{Job, Outcome, Registry, Run, Worker};
use bulkhead_kernel::config::{Config, ConfigSource, Section};
use bulkhead_tenancy::{Db, DbError};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::{harness::optional_env, report::say};

/// What makes this program a worker.
const PART: &str = "CHAOS_PART";

/// Works a while and then commits one effect for its tenant.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Work {
    pub(crate) ms: u64,
}

impl Job for Work {
    const KIND: &'static str = "chaos.work";
    /// So many that only lost leases can end it early.
    const MAX_ATTEMPTS: u16 = 50;
}

/// Takes its process down.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Abort;

impl Job for Abort {
    const KIND: &'static str = "chaos.abort";
    const MAX_ATTEMPTS: u16 = 50;
}

pub(crate) fn is_wanted() -> bool {
    optional_env(PART).is_some_and(|part| part == "worker")
}

/// The variable that starts a worker.
pub(crate) fn part() -> (String, String) {
    (PART.to_owned(), "worker".to_owned())
}

/// Works until SIGTERM.
pub(crate) async fn run() -> ExitCode {
    let config = Config::load_for(ConfigSource::process(), &[Section::Database, Section::Jobs])
        .unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let shutdown = bulkhead_worker::signals::shutdown().unwrap();
    let registry = Registry::new().handle::<Work, _, _>(work).handle::<Abort, _, _>(abort);
    let worker = Worker::new(Db::new(&config.database).unwrap(), registry, &config.jobs).unwrap();
    say(r#"{"message":"listening"}"#);
    worker.with_concurrency(8).run(shutdown).await;
    ExitCode::SUCCESS
}

/// In a task that goes on when the handler is dropped, as a thread of its own would: nothing but the lease stops it.
async fn work(run: Run, job: Work) -> Outcome {
    let effect = tokio::spawn(async move { effect(&run, job).await });
    match effect.await.unwrap() {
        Ok(()) => Outcome::Done,
        Err(error) => Outcome::Retry(error.to_string()),
    }
}

async fn effect(run: &Run, job: Work) -> Result<(), DbError> {
    note_start(run).await?;
    let mut tx = run.tenant_tx().await?;
    let is_done: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM effects WHERE job = $1)")
        .bind(run.job.uuid())
        .fetch_one(tx.conn())
        .await?;
    tx.commit().await?;
    if is_done {
        return Ok(());
    }
    sleep(Duration::from_millis(job.ms)).await;
    let mut tx = run.tenant_tx().await?;
    sqlx::query("INSERT INTO effects (job, attempt) VALUES ($1, $2)")
        .bind(run.job.uuid())
        .bind(i32::from(run.attempt))
        .execute(tx.conn())
        .await?;
    let committed = run.commit(tx).await;
    if matches!(committed, Err(DbError::LeaseLost)) {
        note(
            run,
            "INSERT INTO chaos.refusals (job, attempt, pid) VALUES ($1, $2, $3)",
        )
        .await?;
    }
    committed
}

async fn abort(run: Run, _: Abort) -> Outcome {
    if let Err(error) = note_start(&run).await {
        return Outcome::Retry(error.to_string());
    }
    // Whatever was claimed with it is under way by then.
    sleep(Duration::from_millis(50)).await;
    std::process::abort()
}

async fn note_start(run: &Run) -> Result<(), DbError> {
    note(run, "INSERT INTO chaos.starts (job, attempt, pid) VALUES ($1, $2, $3)").await
}

async fn note(run: &Run, statement: &'static str) -> Result<(), DbError> {
    let mut tx = run.db().control().await?;
    sqlx::query(statement)
        .bind(run.job.uuid())
        .bind(i32::from(run.attempt))
        .bind(i64::from(std::process::id()))
        .execute(tx.conn())
        .await?;
    tx.commit().await
}
