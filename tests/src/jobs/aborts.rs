//! A job that takes its process down, in processes of its own.

use std::{process::Stdio, time::Duration};

use bulkhead_jobs::{Job, Outcome, Registry, Worker};
use bulkhead_kernel::config::Jobs;
use serde::{Deserialize, Serialize};
use tokio::{process::Command, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{Ping, ping, quick, reaches, row, submit};
use crate::harness::{TestDb, eventually, optional_env};

/// Ends its process at once.
#[derive(Serialize, Deserialize)]
struct Poison;

impl Job for Poison {
    const KIND: &'static str = "test.poison";
    const MAX_ATTEMPTS: u16 = 20;
}

/// Takes longer than it takes the poison to work.
#[derive(Serialize, Deserialize)]
struct Long;

impl Job for Long {
    const KIND: &'static str = "test.long";
    const MAX_ATTEMPTS: u16 = 20;
}

/// Where the process below finds its database.
const DATABASE: &str = "BULKHEAD_TEST_DOOMED_DATABASE";

fn settings() -> Jobs {
    Jobs {
        lease: Duration::from_millis(600),
        ..quick()
    }
}

/// Not a test but the process of the next one: it works until it is killed or kills itself.
#[tokio::test]
#[ignore = "started by the test below"]
async fn doomed_worker() {
    let Some(name) = optional_env(DATABASE) else { return };
    let test = TestDb::existing(name);
    let registry = Registry::new()
        .handle::<Ping, _, _>(|_, _| async { Outcome::Done })
        .handle::<Long, _, _>(|_, _| async {
            sleep(Duration::from_secs(1)).await;
            Outcome::Done
        })
        .handle::<Poison, _, _>(|_, _| async {
            // The others that were claimed with it are under way by then.
            sleep(Duration::from_millis(100)).await;
            std::process::abort();
            #[expect(unreachable_code, reason = "a handler has an outcome")]
            Outcome::Done
        });
    let worker = Worker::new(test.db(&[]), registry, &settings()).unwrap();
    worker.with_concurrency(8).run(CancellationToken::new()).await;
}

fn start(test: &TestDb) -> tokio::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "jobs::aborts::doomed_worker", "--ignored", "--nocapture"])
        .env(DATABASE, test.name())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_job_that_aborts_its_process_does_so_three_times_and_takes_no_other_with_it() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let (long, poison) = (submit(&db, &Long).await, submit(&db, &Poison).await);
    let mut deaths = Vec::new();
    for n in 1.. {
        let mut worker = start(&test);
        // Somebody comes by in each life, and is not kept waiting for more than a lease and a retry.
        let quick = submit(&db, &ping("passes by")).await;
        let died = tokio::select! {
            died = worker.wait() => Some(died.unwrap()),
            _ = reaches(&test, poison, "dead") => None,
        };
        let Some(died) = died else {
            reaches(&test, quick, "done").await;
            reaches(&test, long, "done").await;
            break;
        };
        deaths.push(died.to_string());
        assert!(n <= 3, "{deaths:?}");
    }
    let poison = row(&test, poison).await;
    assert_eq!(deaths.len(), 3, "{deaths:?}");
    assert!(deaths.iter().all(|death| death.contains("SIGABRT")), "{deaths:?}");
    assert_eq!((poison.attempt, poison.lost_leases), (3, 3));
    assert!(poison.last_error.unwrap().starts_with("poison"));
    let long = row(&test, long).await;
    assert!(long.lost_leases <= 2, "{long:?}");
    eventually("nobody is left behind", async || {
        let n: i64 = sqlx::query_scalar("SELECT count(*) FROM control.jobs WHERE state <> 'done'")
            .fetch_one(&mut test.connect("postgres").await)
            .await
            .unwrap();
        (n == 1).then_some(())
    })
    .await;
}
