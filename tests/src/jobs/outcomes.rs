//! How attempts end, and what becomes of their jobs.

use std::time::Duration;

use bulkhead_jobs::{Job, Outcome, Registry};
use bulkhead_kernel::{clock::Clock, config::Jobs};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Notes, Ping, Running, ping, quick, reaches, row, submit};
use crate::harness::{TestDb, eventually};

#[tokio::test]
async fn a_failing_job_is_tried_again_after_growing_waits_and_is_dead_in_the_end() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let (times, notes) = (std::sync::Arc::new(std::sync::Mutex::new(Vec::new())), Notes::default());
    let (noting, noted) = (times.clone(), notes.clone());
    let registry = Registry::new().handle::<Ping, _, _>(move |run, job| {
        noting.lock().unwrap().push(Instant::now());
        noted.add(format!("{} {} {}", job.note, run.attempt, run.is_last_attempt));
        async { Outcome::Retry("no luck".into()) }
    });
    let job = submit(&db, &ping("fails")).await;
    let settings = Jobs {
        retry_base: Duration::from_millis(200),
        ..quick()
    };
    let worker = Running::start(db, registry, &settings);
    let dead = reaches(&test, job, "dead").await;
    worker.stop().await;
    assert_eq!((dead.attempt, dead.last_error.as_deref()), (4, Some("no luck")));
    assert_eq!(
        notes.list(),
        ["fails 1 false", "fails 2 false", "fails 3 false", "fails 4 true"]
    );
    let times = times.lock().unwrap();
    for (step, wait) in times.windows(2).enumerate() {
        let least = Duration::from_millis(160 << step);
        assert!(wait[1] - wait[0] >= least, "wait {step} of {:?}", wait[1] - wait[0]);
    }
}

#[tokio::test]
async fn the_wait_for_the_next_attempt_is_in_the_table() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let registry = Registry::new().handle::<Ping, _, _>(|_, _| async { Outcome::Retry("later".into()) });
    let job = submit(&db, &ping("fails")).await;
    let hour = Duration::from_secs(3600);
    let worker = Running::start(
        db.clone(),
        registry,
        &Jobs {
            retry_base: hour,
            retry_max: hour,
            ..quick()
        },
    );
    let waiting = eventually("the attempt is over", async || {
        let row = row(&test, job).await;
        (row.state == "queued" && row.attempt == 1).then_some(row)
    })
    .await;
    worker.stop().await;
    let wait = (waiting.run_at - Clock::system().now()).num_minutes();
    assert!((46..=72).contains(&wait), "{wait} minutes");
    assert_eq!(waiting.last_error.as_deref(), Some("later"));

    // A worker that starts now finds that it has to wait.
    let notes = Notes::default();
    let noting = notes.clone();
    let registry = Registry::new().handle::<Ping, _, _>(move |_, job| {
        noting.add(job.note);
        async { Outcome::Done }
    });
    let worker = Running::start(db.clone(), registry, &quick());
    reaches(&test, submit(&db, &ping("another")).await, "done").await;
    worker.stop().await;
    assert_eq!(notes.list(), ["another"]);
}

#[tokio::test]
async fn a_panic_is_a_failed_attempt_and_harms_no_other_job() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let registry = Registry::new().handle::<Ping, _, _>(|run, job| {
        // One panics before it gives a future, the other inside it.
        assert!(job.note != "at once" || run.attempt > 1, "on purpose");
        async move {
            assert!(job.note != "inside" || run.attempt > 1, "on purpose");
            Outcome::Done
        }
    });
    let mut jobs = Vec::new();
    for note in ["at once", "inside", "well"] {
        jobs.push(submit(&db, &ping(note)).await);
    }
    let worker = Running::start(db, registry, &quick());
    let mut attempts = Vec::new();
    for job in jobs {
        let row = reaches(&test, job, "done").await;
        let is_told = row
            .last_error
            .is_some_and(|error| error.contains("panicked: on purpose"));
        attempts.push((row.attempt, row.lost_leases, is_told));
    }
    assert_eq!(attempts, [(2, 0, true), (2, 0, true), (1, 0, false)]);
    assert!(worker.health.is_ready());
    worker.stop().await;
}

/// What an older release wrote under the kind of [`Ping`].
#[derive(Serialize, Deserialize)]
struct Mangled {
    note: u32,
}

impl Job for Mangled {
    const KIND: &'static str = Ping::KIND;
}

#[tokio::test]
async fn a_payload_that_cannot_be_read_is_dead_at_once() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let registry = Registry::new().handle::<Ping, _, _>(|_, _| async { Outcome::Done });
    let job = submit(&db, &Mangled { note: 1 }).await;
    let worker = Running::start(db.clone(), registry, &quick());
    let dead = reaches(&test, job, "dead").await;
    assert_eq!(dead.attempt, 1);
    assert!(dead.last_error.unwrap().starts_with("the payload cannot be read"));
    reaches(&test, submit(&db, &ping("next")).await, "done").await;
    worker.stop().await;
}

#[tokio::test]
async fn putting_off_costs_no_attempt_and_discarding_ends_at_once() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let notes = Notes::default();
    let noting = notes.clone();
    let registry = Registry::new().handle::<Ping, _, _>(move |run, job| {
        noting.add(format!("{} {}", job.note, run.attempt));
        let n = noting.list().len();
        async move {
            match n {
                6 => Outcome::Discard("never\0".into()),
                _ => Outcome::Snooze(Duration::from_millis(1)),
            }
        }
    });
    let job = submit(&db, &ping("snoozes")).await;
    let worker = Running::start(db, registry, &quick());
    let dead = reaches(&test, job, "dead").await;
    worker.stop().await;
    assert_eq!(dead.last_error.as_deref(), Some("never\u{fffd}"));
    assert_eq!(notes.list(), ["snoozes 1"; 6]);
}
