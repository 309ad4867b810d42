//! A stop loses nothing and does not take long.

use std::{sync::Arc, time::Duration};

use bulkhead_jobs::{Outcome, Registry, Worker};
use bulkhead_kernel::config::Jobs;
use tokio::{sync::Semaphore, time::Instant};

use super::{Notes, Ping, Running, ping, quick, row, submit};
use crate::harness::{TestDb, eventually};

fn registry(gate: &Arc<Semaphore>, notes: &Notes) -> Registry {
    let (gate, notes) = (gate.clone(), notes.clone());
    Registry::new().handle::<Ping, _, _>(move |run, job| {
        let (gate, notes) = (gate.clone(), notes.clone());
        async move {
            notes.add(format!("{} {}", job.note, run.attempt));
            gate.acquire().await.unwrap().forget();
            Outcome::Done
        }
    })
}

#[tokio::test]
async fn running_jobs_are_finished_and_no_other_is_taken() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let (gate, notes) = (Arc::new(Semaphore::new(0)), Notes::default());
    let mut jobs = Vec::new();
    for note in ["1", "2", "3"] {
        jobs.push(submit(&db, &ping(note)).await);
    }
    let worker = Worker::new(db, registry(&gate, &notes), &quick()).unwrap();
    let worker = Running::of(worker.with_concurrency(2));
    notes.wait_for(2).await;
    assert!(worker.health.is_ready());
    worker.stop.cancel();
    eventually("the worker says that it stops", async || {
        (!worker.health.is_ready()).then_some(())
    })
    .await;
    gate.add_permits(3);
    worker.stop().await;
    let mut rows = Vec::new();
    for job in jobs {
        let row = row(&test, job).await;
        rows.push((row.state, row.attempt));
    }
    assert_eq!(
        rows,
        [("done".to_owned(), 1), ("done".to_owned(), 1), ("queued".to_owned(), 0)]
    );
}

#[tokio::test]
async fn what_cannot_finish_in_time_is_handed_back_without_costing_an_attempt() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let (gate, notes) = (Arc::new(Semaphore::new(0)), Notes::default());
    let job = submit(&db, &ping("slow")).await;
    let grace = Duration::from_millis(300);
    let worker = Worker::new(db.clone(), registry(&gate, &notes), &quick()).unwrap();
    let worker = Running::of(worker.with_grace(grace));
    notes.wait_for(1).await;
    let stopped = Instant::now();
    worker.stop().await;
    let took = stopped.elapsed();
    assert!(took >= grace && took < grace + Duration::from_secs(2), "{took:?}");
    let released = row(&test, job).await;
    assert_eq!(
        (released.state.as_str(), released.attempt, released.lost_leases),
        ("queued", 0, 0)
    );

    gate.add_permits(1);
    let worker = Running::start(db, registry(&gate, &notes), &quick());
    super::reaches(&test, job, "done").await;
    worker.stop().await;
    assert_eq!(notes.list(), ["slow 1", "slow 1"]);
}

#[tokio::test]
async fn stops_in_the_middle_of_a_backlog_leave_nothing_behind() {
    const N_JOBS: usize = 200;
    let test = TestDb::new().await;
    let db = test.db(&[]);
    for n in 0..N_JOBS {
        submit(&db, &ping(&n.to_string())).await;
    }
    let (open, notes) = (Arc::new(Semaphore::new(N_JOBS)), Notes::default());
    // A lease that a stop leaves behind would outlast the test.
    let settings = Jobs {
        lease: Duration::from_secs(3600),
        ..quick()
    };
    while notes.list().len() < N_JOBS {
        let seen = notes.list().len();
        let worker = Worker::new(db.clone(), registry(&open, &notes), &settings).unwrap();
        let worker = Running::of(worker.with_concurrency(2));
        notes.wait_for((seen + 5).min(N_JOBS)).await;
        worker.stop().await;
        let leased = sqlx::query_scalar!(r#"SELECT count(*) AS "n!" FROM control.jobs WHERE state = 'running'"#)
            .fetch_one(&mut test.connect("postgres").await)
            .await
            .unwrap();
        assert_eq!(leased, 0);
    }
    let rows = sqlx::query!("SELECT DISTINCT state, attempt, lost_leases FROM control.jobs")
        .fetch_all(&mut test.connect("postgres").await)
        .await
        .unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(
        (rows[0].state.as_str(), rows[0].attempt, rows[0].lost_leases),
        ("done", 1, 0)
    );
    assert_eq!(notes.list().len(), N_JOBS);
}
