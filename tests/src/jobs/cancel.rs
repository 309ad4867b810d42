//! Jobs that nobody wants any more, and jobs whose time is over.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use bulkhead_jobs::{Job, Outcome, Registry, RetryError, State, Worker, cancel, retry};
use bulkhead_kernel::{config::Jobs, ids::JobId};
use bulkhead_tenancy::Db;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::{Notes, Ping, Running, ping, quick, reaches, row, submit, submit_for};
use crate::harness::{TestDb, run};

async fn call_off(db: &Db, job: JobId) -> Option<State> {
    let mut tx = db.control().await.unwrap();
    let state = cancel(&mut tx, job).await.unwrap();
    tx.commit().await.unwrap();
    state
}

async fn give_another_try(db: &Db, job: JobId) -> Result<Option<State>, RetryError> {
    let mut tx = db.control().await.unwrap();
    let state = retry(&mut tx, job).await?;
    tx.commit().await.unwrap();
    Ok(state)
}

/// It asks the table for nothing by itself.
fn unasked() -> Jobs {
    Jobs {
        lease: Duration::from_secs(3600),
        poll: Duration::from_secs(3600),
        ..quick()
    }
}

/// What a job that is told to end does, by its note.
fn obedient(notes: &Notes) -> Registry {
    let notes = notes.clone();
    Registry::new().handle::<Ping, _, _>(move |run, job| {
        let notes = notes.clone();
        async move {
            notes.add(format!("{} starts", job.note));
            match job.note.as_str() {
                "plain" => return Outcome::Done,
                "deaf" => std::future::pending().await,
                _ => run.cancelled.cancelled().await,
            }
            notes.add(format!("{} cleans up", job.note));
            match job.note.as_str() {
                "finishes" => Outcome::Done,
                "gives up" => Outcome::Discard("called off".into()),
                "waits" => Outcome::Snooze(Duration::ZERO),
                _ => Outcome::Retry("called off".into()),
            }
        }
    })
}

#[tokio::test]
async fn a_waiting_job_that_is_cancelled_never_runs() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let unwanted = submit(&db, &ping("unwanted")).await;
    assert_eq!(call_off(&db, unwanted).await, Some(State::Cancelled));
    assert_eq!(call_off(&db, unwanted).await, Some(State::Cancelled), "again");
    assert_eq!(call_off(&db, JobId::new()).await, None);
    let wanted = submit(&db, &ping("plain")).await;
    let notes = Notes::default();
    let worker = Running::start(db.clone(), obedient(&notes), &quick());
    reaches(&test, wanted, "done").await;
    assert_eq!(call_off(&db, wanted).await, Some(State::Done));
    worker.stop().await;
    assert_eq!(notes.list(), ["plain starts"]);
    assert_eq!(row(&test, unwanted).await.attempt, 0);
}

#[tokio::test]
async fn a_running_job_hears_that_it_is_cancelled_and_cleans_up() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let notes = Notes::default();
    let worker = Running::start(db.clone(), obedient(&notes), &unasked());
    let ends = [
        ("tries again", "cancelled", true),
        ("gives up", "cancelled", true),
        ("waits", "cancelled", true),
        ("deaf", "cancelled", false),
        ("finishes", "done", true),
    ];
    let mut expected = Vec::new();
    for (note, state, cleans_up) in ends {
        let job = submit(&db, &ping(note)).await;
        expected.push(format!("{note} starts"));
        notes.wait_for(expected.len()).await;
        assert_eq!(call_off(&db, job).await, Some(State::Running));
        reaches(&test, job, state).await;
        if cleans_up {
            expected.push(format!("{note} cleans up"));
        }
        assert_eq!(notes.list(), expected);
    }
    worker.stop().await;
}

/// As where notifications do not get through.
#[tokio::test]
async fn a_cancel_is_found_without_notice() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let notes = Notes::default();
    let worker = Running::start(db.clone(), obedient(&notes), &unasked());
    let job = submit(&db, &ping("listens")).await;
    notes.wait_for(1).await;
    let silently = format!(
        "UPDATE control.jobs SET cancel_requested_at = now() WHERE id = '{}'",
        job.uuid()
    );
    run(&mut test.connect("postgres").await, &silently).await;
    reaches(&test, job, "cancelled").await;
    worker.stop().await;
}

#[tokio::test]
async fn a_cancelled_job_whose_worker_dies_or_stops_does_not_run_again() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let lost = submit(&db, &ping("lost")).await;
    // What a worker leaves behind that dies in the middle of the job.
    let dies = format!(
        "UPDATE control.jobs \
         SET state = 'running', attempt = 1, lease_token = gen_random_uuid(), lease_until = now(), \
             cancel_requested_at = now() \
         WHERE id = '{}'",
        lost.uuid()
    );
    run(&mut test.connect("postgres").await, &dies).await;
    let notes = Notes::default();
    let worker = Running::start(db.clone(), obedient(&notes), &quick());
    let ended = reaches(&test, lost, "cancelled").await;
    assert_eq!((ended.attempt, ended.lost_leases), (1, 1));
    worker.stop().await;
    assert_eq!(notes.list(), [""; 0]);

    // Its worker has to go before it has looked.
    let worker = Worker::new(db.clone(), obedient(&notes), &unasked()).unwrap();
    let worker = Running::of(worker.with_grace(Duration::ZERO));
    let stopped = submit(&db, &ping("deaf")).await;
    notes.wait_for(1).await;
    let mut tx = db.control().await.unwrap();
    cancel(&mut tx, stopped).await.unwrap();
    worker.stop.cancel();
    tx.commit().await.unwrap();
    worker.stop().await;
    reaches(&test, stopped, "cancelled").await;
}

/// What a job builds and has to remove again, and how far it is.
#[derive(Clone)]
struct Site {
    built: Arc<Mutex<BTreeSet<String>>>,
    started: Notes,
    steps: Arc<Semaphore>,
}

impl Site {
    fn handlers(&self) -> Registry {
        let site = self.clone();
        Registry::new().handle::<Ping, _, _>(move |run, job| {
            let site = site.clone();
            async move {
                site.started.add(&job.note);
                site.built.lock().unwrap().insert(job.note.clone());
                let mut n_steps = 0;
                while n_steps < 3 {
                    tokio::select! {
                        () = run.cancelled.cancelled() => break,
                        step = site.steps.acquire() => step.unwrap().forget(),
                    }
                    n_steps += 1;
                }
                site.built.lock().unwrap().remove(&job.note);
                if n_steps == 3 {
                    Outcome::Done
                } else {
                    Outcome::Retry("called off".into())
                }
            }
        })
    }
}

#[tokio::test]
async fn a_hundred_cancels_at_random_moments_leave_nothing_behind() {
    const SEED: u64 = 20_261_121;
    let mut rng = StdRng::seed_from_u64(SEED);
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let mut jobs = Vec::new();
    for name in ["one", "two"] {
        let tenant = test.tenant(&db, name).await;
        for n in 0..50 {
            let note = format!("{name} {n}");
            jobs.push((note.clone(), submit_for(&db, tenant, &ping(&note)).await));
        }
    }
    let site = Site {
        built: Arc::default(),
        started: Notes::default(),
        steps: Arc::new(Semaphore::new(0)),
    };
    let worker = Worker::new(db.clone(), site.handlers(), &quick()).unwrap();
    let worker = Running::of(worker.with_concurrency(8));
    jobs.shuffle(&mut rng);
    let mut never_ran = Vec::new();
    for (n, (note, job)) in jobs.iter().enumerate() {
        // The worker goes on by some steps, or meets the cancel where it stands.
        site.steps.add_permits(rng.gen_range(0..4));
        if rng.gen_bool(0.3) && n < 40 {
            site.started.wait_for(n / 2).await;
        }
        if call_off(&db, *job).await == Some(State::Cancelled) && row(&test, *job).await.attempt == 0 {
            never_ran.push(note.clone());
        }
    }
    site.steps.add_permits(1_000);
    let mut n_done = 0;
    for (_, job) in &jobs {
        let ended = crate::harness::eventually("it has ended", async || {
            let row = row(&test, *job).await;
            (row.state == "done" || row.state == "cancelled").then_some(row)
        })
        .await;
        n_done += usize::from(ended.state == "done");
    }
    worker.stop().await;
    assert_eq!(*site.built.lock().unwrap(), BTreeSet::new(), "left over, seed {SEED}");
    assert!(n_done < jobs.len(), "seed {SEED}");
    assert!(!never_ran.is_empty(), "seed {SEED}");
    let started = site.started.list();
    assert!(never_ran.iter().all(|note| !started.contains(note)), "seed {SEED}");
}

/// A job that is of no use after a while.
#[derive(Serialize, Deserialize)]
struct Fleeting {
    note: String,
    lives_ms: u64,
}

impl Job for Fleeting {
    const KIND: &'static str = "test.fleeting";

    fn deadline(&self) -> Option<Duration> {
        Some(Duration::from_millis(self.lives_ms))
    }
}

fn fleeting(note: &str, lives_ms: u64) -> Fleeting {
    Fleeting {
        note: note.into(),
        lives_ms,
    }
}

#[tokio::test]
async fn a_job_whose_deadline_has_passed_is_dead_whether_it_waits_or_runs() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let waiting = submit(&db, &fleeting("waiting", 1)).await;
    let notes = Notes::default();
    let noting = notes.clone();
    let registry = Registry::new().handle::<Fleeting, _, _>(move |run, job| {
        let notes = noting.clone();
        async move {
            notes.add(format!("{} starts", job.note));
            match job.note.as_str() {
                "in time" => return Outcome::Done,
                "deaf" => std::future::pending().await,
                _ => run.cancelled.cancelled().await,
            }
            if job.note == "late" {
                return Outcome::Done;
            }
            notes.add(format!("{} cleans up", job.note));
            Outcome::Retry("called off".into())
        }
    });
    let worker = Worker::new(db.clone(), registry, &quick()).unwrap();
    let worker = Running::of(worker.with_concurrency(4));
    let dead = reaches(&test, waiting, "dead").await;
    assert_eq!(
        (dead.attempt, dead.last_error.as_deref()),
        (0, Some("its deadline has passed"))
    );

    let mut jobs = Vec::new();
    for note in ["deaf", "careful", "late"] {
        jobs.push(submit(&db, &fleeting(note, 3_000)).await);
    }
    reaches(&test, submit(&db, &fleeting("in time", 3_600_000)).await, "done").await;
    let deaf = reaches(&test, jobs[0], "dead").await;
    assert_eq!(
        (deaf.attempt, deaf.last_error.as_deref()),
        (1, Some("its deadline has passed"))
    );
    let careful = reaches(&test, jobs[1], "dead").await;
    assert_eq!(
        careful.last_error.as_deref(),
        Some("its deadline has passed: called off")
    );
    reaches(&test, jobs[2], "done").await;
    worker.stop().await;
    assert!(
        notes.list().contains(&"careful cleans up".to_owned()),
        "{:?}",
        notes.list()
    );
    assert!(!notes.list().contains(&"waiting starts".to_owned()));
}

#[tokio::test]
async fn a_dead_or_cancelled_job_gets_another_try_unless_its_key_is_taken() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let notes = Notes::default();
    let noting = notes.clone();
    let registry = || {
        let noting = noting.clone();
        Registry::new().handle::<Ping, _, _>(move |run, job| {
            noting.add(format!("{} {}", job.note, run.attempt));
            let n = noting.list().len();
            async move {
                if n == 1 {
                    Outcome::Discard("never".into())
                } else {
                    Outcome::Done
                }
            }
        })
    };
    let keyed = Ping {
        key: Some("key".into()),
        ..ping("keyed")
    };
    let job = submit(&db, &keyed).await;
    let worker = Running::start(db.clone(), registry(), &quick());
    reaches(&test, job, "dead").await;
    worker.stop().await;

    let second = submit(&db, &keyed).await;
    let refused = give_another_try(&db, job).await.unwrap_err();
    assert!(matches!(refused, RetryError::KeyTaken), "{refused:?}");
    assert_eq!(call_off(&db, second).await, Some(State::Cancelled));
    assert_eq!(give_another_try(&db, job).await.unwrap(), Some(State::Queued));
    assert_eq!(give_another_try(&db, job).await.unwrap(), Some(State::Queued), "again");
    assert_eq!(give_another_try(&db, JobId::new()).await.unwrap(), None);
    let worker = Running::start(db.clone(), registry(), &quick());
    reaches(&test, job, "done").await;
    assert_eq!(give_another_try(&db, job).await.unwrap(), Some(State::Done));
    assert_eq!(give_another_try(&db, second).await.unwrap(), Some(State::Queued));
    reaches(&test, second, "done").await;
    worker.stop().await;
    assert_eq!(notes.list(), ["keyed 1", "keyed 1", "keyed 1"]);
}
