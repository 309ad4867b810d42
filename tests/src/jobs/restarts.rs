//! PostgreSQL goes away without a word and comes back. POSTGRES_RESTARTS sets how often; a few are enough to see that the
//! workers go on.

use std::{sync::Arc, time::Duration};

use bulkhead_jobs::{Outcome, Owner, Registry, Run, enqueue_for};
use bulkhead_tenancy::DbError;
use tokio::{sync::Semaphore, time::Instant};

use super::{Effect, Notes, Ping, Running, count, ping, quick, reaches, submit};
use crate::harness::{Postgres, TestDb, optional_env};

/// From when PostgreSQL takes connections until work goes on.
const BOUND: Duration = Duration::from_secs(5);

fn restarts() -> usize {
    optional_env("POSTGRES_RESTARTS").map_or(3, |n| n.parse().unwrap())
}

#[tokio::test]
async fn an_idle_worker_goes_on_after_each_restart_of_the_database() {
    let postgres = Postgres::start().await;
    let test = TestDb::on(postgres.url()).await;
    let registry = Registry::new().handle::<Ping, _, _>(|_, _| async { Outcome::Done });
    let worker = Running::start(test.db(&[]), registry, &quick());
    reaches(&test, submit(&test.db(&[]), &ping("before")).await, "done").await;
    for n in 0..restarts() {
        postgres.stop().await;
        postgres.resume().await;
        let accepting = Instant::now();
        let job = submit(&test.db(&[]), &ping("after")).await;
        reaches(&test, job, "done").await;
        assert!(accepting.elapsed() < BOUND, "restart {n}: {:?}", accepting.elapsed());
        assert!(worker.health.is_ready());
    }
    worker.stop().await;
}

/// Leaves one effect of the job.
async fn effect(run: &Run) -> Result<(), DbError> {
    let mut tx = run.db().control().await?;
    enqueue_for(&run.origin, &mut tx, Owner::Platform, &Effect).await?;
    run.hold_control(&mut tx).await?;
    tx.commit().await
}

#[tokio::test]
async fn a_job_under_a_restart_of_the_database_is_done_once_in_effect() {
    let postgres = Postgres::start().await;
    let test = TestDb::on(postgres.url()).await;
    let (gate, notes) = (Arc::new(Semaphore::new(0)), Notes::default());
    let (opening, noting) = (gate.clone(), notes.clone());
    let registry = Registry::new().handle::<Ping, _, _>(move |run, _| {
        let (gate, notes) = (opening.clone(), noting.clone());
        async move {
            notes.add("begins");
            gate.acquire().await.unwrap().forget();
            let left = effect(&run).await;
            notes.add(if left.is_ok() { "done" } else { "failed" });
            left
        }
    });
    let worker = Running::start(test.db(&[]), registry, &quick());
    for n in 0..restarts() {
        let job = submit(&test.db(&[]), &ping("under it")).await;
        notes.wait_for(4 * n + 1).await;
        postgres.stop().await;
        // Its effect meets a server that is not there, and so does what becomes of it.
        gate.add_permits(1);
        notes.wait_for(4 * n + 2).await;
        postgres.resume().await;
        let accepting = Instant::now();
        gate.add_permits(1);
        reaches(&test, job, "done").await;
        assert!(accepting.elapsed() < BOUND, "restart {n}: {:?}", accepting.elapsed());
        assert_eq!(notes.list()[4 * n..], ["begins", "failed", "begins", "done"]);
        assert_eq!(count(&test, "test.effect").await, i64::try_from(n + 1).unwrap());
    }
    worker.stop().await;
}
