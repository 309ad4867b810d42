//! A worker that dies loses its job, and one that was only away can do no harm any more.

use std::{sync::Arc, time::Duration};

use bulkhead_jobs::{Outcome, Registry, Run, enqueue};
use bulkhead_kernel::{config::Jobs, ids::JobId};
use bulkhead_tenancy::DbError;
use tokio::sync::Semaphore;

use super::{Effect, Notes, Ping, Running, count, origin, ping, quick, reaches, row, submit};
use crate::harness::{TestDb, eventually};

/// A worker so slow to give signs of life that a test can take its lease away.
fn sleepy() -> Jobs {
    Jobs {
        lease: Duration::from_secs(3600),
        ..quick()
    }
}

async fn expire(test: &TestDb, job: JobId) {
    sqlx::query!(
        "UPDATE control.jobs SET lease_until = now() - interval '1 second' WHERE id = $1 AND state = 'running'",
        job.uuid(),
    )
    .execute(&mut test.connect("postgres").await)
    .await
    .unwrap();
}

#[tokio::test]
async fn the_job_of_a_killed_worker_is_run_by_another() {
    let test = TestDb::new().await;
    let notes = Notes::default();
    let doomed = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (noting, db) = (notes.clone(), test.db(&[]));
    let registry = Registry::new().handle::<Ping, _, _>(move |run, _| {
        noting.add(format!("first {}", run.attempt));
        std::future::pending::<Outcome>()
    });
    doomed.spawn(async move { Running::start(db, registry, &quick()).task.await });
    let db = test.db(&[]);
    let job = submit(&db, &ping("survives")).await;
    notes.wait_for(1).await;
    // Nothing of it runs any more, not even to say goodbye.
    doomed.shutdown_background();

    let noting = notes.clone();
    let registry = Registry::new().handle::<Ping, _, _>(move |run, _| {
        noting.add(format!("second {}", run.attempt));
        async { Outcome::Done }
    });
    let worker = Running::start(db, registry, &quick());
    let done = reaches(&test, job, "done").await;
    worker.stop().await;
    assert_eq!(notes.list(), ["first 1", "second 2"]);
    assert_eq!((done.attempt, done.lost_leases), (2, 1));
}

/// Leaves one effect, as soon as the gate lets it.
async fn effect(run: &Run, gate: &Semaphore) -> Result<(), DbError> {
    let mut tx = run.tenant_tx().await?;
    enqueue(&run.origin, &mut tx, &Effect).await?;
    gate.acquire().await.unwrap().forget();
    run.commit(tx).await
}

#[tokio::test]
async fn a_stale_lease_changes_nothing() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let tenant = test.tenant(&db, "acme").await;
    let (gate, notes) = (Arc::new(Semaphore::new(0)), Notes::default());
    let (closed, noting) = (gate.clone(), notes.clone());
    let stale = Registry::new().handle::<Ping, _, _>(move |run, _| {
        let (gate, notes) = (closed.clone(), noting.clone());
        async move {
            notes.add("stale starts");
            let result = effect(&run, &gate).await;
            notes.add(format!("stale {result:?}"));
            Outcome::Done
        }
    });
    let mut tx = db.tenant(tenant).await.unwrap();
    let job = enqueue(&origin(), &mut tx, &ping("fenced")).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    let away = Running::start(db.clone(), stale, &sleepy());
    notes.wait_for(1).await;
    expire(&test, job).await;

    let noting = notes.clone();
    let fresh = Registry::new().handle::<Ping, _, _>(move |run, _| {
        let notes = noting.clone();
        async move {
            let result = effect(&run, &Semaphore::new(1)).await;
            notes.add(format!("fresh {result:?}"));
            result.map_or_else(|error| Outcome::Retry(error.to_string()), |()| Outcome::Done)
        }
    });
    let worker = Running::start(test.db(&[]), fresh, &quick());
    reaches(&test, job, "done").await;
    gate.add_permits(1);
    notes.wait_for(3).await;
    assert_eq!(notes.list(), ["stale starts", "fresh Ok(())", "stale Err(LeaseLost)"]);
    away.stop().await;
    worker.stop().await;
    assert_eq!(count(&test, "test.effect").await, 1);
    let row = row(&test, job).await;
    assert_eq!((row.state.as_str(), row.attempt, row.lost_leases), ("done", 2, 1));
}

#[tokio::test]
async fn an_outcome_under_a_stale_lease_is_dropped() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let (gate, notes) = (Arc::new(Semaphore::new(0)), Notes::default());
    let (closed, noting) = (gate.clone(), notes.clone());
    let registry = Registry::new().handle::<Ping, _, _>(move |_, _| {
        let (gate, notes) = (closed.clone(), noting.clone());
        async move {
            notes.add("started");
            gate.acquire().await.unwrap().forget();
            Outcome::Done
        }
    });
    let job = submit(&db, &ping("late")).await;
    let away = Running::start(db, registry, &sleepy());
    notes.wait_for(1).await;
    expire(&test, job).await;
    // It knows no kind, so it takes the job away and does not run it.
    let hour = Duration::from_secs(3600);
    let settings = Jobs {
        retry_base: hour,
        retry_max: hour,
        ..quick()
    };
    let rescuer = Running::start(test.db(&[]), Registry::new(), &settings);
    reaches(&test, job, "queued").await;
    rescuer.stop().await;
    gate.add_permits(1);
    away.stop().await;
    let row = row(&test, job).await;
    assert_eq!((row.state.as_str(), row.attempt, row.lost_leases), ("queued", 1, 1));
}

#[tokio::test]
async fn a_job_that_costs_three_workers_their_lives_is_dead() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let job = submit(&db, &ping("poison")).await;
    let rescuer = Running::start(db, Registry::new(), &quick());
    let mut seen = Vec::new();
    for _ in 0..3 {
        // What a worker leaves behind that dies in the middle of the job.
        sqlx::query!(
            r#"
            UPDATE control.jobs
            SET state       = 'running',
                attempt     = attempt + 1,
                lease_token = gen_random_uuid(),
                lease_until = now() - interval '1 second'
            WHERE id = $1
            "#,
            job.uuid(),
        )
        .execute(&mut test.connect("postgres").await)
        .await
        .unwrap();
        let left = eventually("the lease is taken away", async || {
            let row = row(&test, job).await;
            (row.state != "running").then_some(row)
        })
        .await;
        seen.push((left.state, left.attempt, left.lost_leases));
    }
    rescuer.stop().await;
    let expected = [("queued", 1, 1), ("queued", 2, 2), ("dead", 3, 3)];
    assert_eq!(
        seen,
        expected.map(|(state, attempt, lost)| (state.to_owned(), attempt, lost))
    );
    assert!(row(&test, job).await.last_error.unwrap().starts_with("poison"));
}

#[tokio::test]
async fn a_long_job_keeps_its_lease() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let gate = Arc::new(Semaphore::new(0));
    let registry = || {
        let gate = gate.clone();
        Registry::new().handle::<Ping, _, _>(move |_, _| {
            let gate = gate.clone();
            async move {
                gate.acquire().await.unwrap().forget();
                Outcome::Done
            }
        })
    };
    let job = submit(&db, &ping("long")).await;
    // Each would rescue the other's job if it could.
    let workers = [
        Running::start(db, registry(), &quick()),
        Running::start(test.db(&[]), registry(), &quick()),
    ];
    let first = reaches(&test, job, "running").await.lease_until.unwrap();
    eventually("the lease was extended over two of its lengths", async || {
        let until = row(&test, job).await.lease_until?;
        (until - first > chrono::Duration::milliseconds(3200)).then_some(())
    })
    .await;
    gate.add_permits(2);
    let done = reaches(&test, job, "done").await;
    assert_eq!((done.attempt, done.lost_leases), (1, 0));
    for worker in workers {
        worker.stop().await;
    }
}
