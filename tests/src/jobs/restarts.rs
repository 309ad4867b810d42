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

/// Stops the server in the midst of everything and starts it again. Gives since when it takes connections.
async fn restart(postgres: &Postgres) -> Instant {
    postgres.stop().await;
    postgres.resume().await;
    Instant::now()
}

#[tokio::test]
async fn an_idle_worker_goes_on_after_each_restart_of_the_database() {
    let postgres = Postgres::start().await;
    let test = TestDb::on(postgres.url()).await;
    let registry = Registry::new().handle::<Ping, _, _>(|_, _| async { Outcome::Done });
    let worker = Running::start(test.db(&[]), registry, &quick());
    reaches(&test, submit(&test.db(&[]), &ping("before")).await, "done").await;
    for n in 0..restarts() {
        let accepting = restart(&postgres).await;
        let job = submit(&test.db(&[]), &ping("after")).await;
        reaches(&test, job, "done").await;
        assert!(accepting.elapsed() < BOUND, "restart {n}: {:?}", accepting.elapsed());
        assert!(worker.health.is_ready());
    }
    worker.stop().await;
}

/// Leaves one effect of the job, once the gate lets it.
async fn effect(run: &Run, gate: &Semaphore) -> Result<(), DbError> {
    gate.acquire().await.unwrap().forget();
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
    let registry = Registry::new().handle::<Ping, _, _>(move |run, job| {
        let gate = opening.clone();
        noting.add(job.note);
        async move { effect(&run, &gate).await }
    });
    let worker = Running::start(test.db(&[]), registry, &quick());
    for n in 0..restarts() {
        let job = submit(&test.db(&[]), &ping(&n.to_string())).await;
        notes
            .wait_for(notes.list().iter().filter(|note| **note != n.to_string()).count() + 1)
            .await;
        let accepting = restart(&postgres).await;
        // For the attempt that went on, or for the one that came after it.
        gate.add_permits(1);
        reaches_with(&test, job, &gate).await;
        assert!(accepting.elapsed() < BOUND, "restart {n}: {:?}", accepting.elapsed());
        assert_eq!(count(&test, "test.effect").await, i64::try_from(n + 1).unwrap());
    }
    worker.stop().await;
}

/// A permit may go with an attempt that is lost, so there is always one more.
async fn reaches_with(test: &TestDb, job: bulkhead_kernel::ids::JobId, gate: &Semaphore) {
    crate::harness::eventually("the job is done", async || {
        if gate.available_permits() == 0 {
            gate.add_permits(1);
        }
        (super::row(test, job).await.state == "done").then_some(())
    })
    .await;
    gate.forget_permits(usize::MAX);
}
