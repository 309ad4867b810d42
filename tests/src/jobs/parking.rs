//! What no worker knows waits for one that does.

use bulkhead_jobs::{Outcome, Registry};
use serde::{Deserialize, Serialize};

use super::{Notes, Ping, Running, ping, quick, reaches, row, submit};
use crate::harness::TestDb;

#[derive(Serialize, Deserialize)]
struct Urgent;

impl bulkhead_jobs::Job for Urgent {
    const KIND: &'static str = "test.urgent";
    const PRIORITY: i16 = 1;
}

#[tokio::test]
async fn a_job_of_an_unknown_kind_is_parked_until_somebody_knows_it() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let parked = submit(&db, &Urgent).await;
    let known = submit(&db, &ping("known")).await;
    let registry = Registry::new().handle::<Ping, _, _>(|_, _| async { Outcome::Done });
    let worker = Running::start(db.clone(), registry, &quick());
    reaches(&test, known, "done").await;
    worker.stop().await;
    let waiting = row(&test, parked).await;
    assert_eq!((waiting.state.as_str(), waiting.attempt), ("queued", 0));

    let registry = Registry::new().handle::<Urgent, _, _>(|_, _| async { Outcome::Done });
    let worker = Running::start(db, registry, &quick());
    assert_eq!(reaches(&test, parked, "done").await.attempt, 1);
    worker.stop().await;
}

#[tokio::test]
async fn the_urgent_comes_first_and_then_the_oldest() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let mut last = submit(&db, &ping("1")).await;
    for note in ["2", "3"] {
        last = submit(&db, &ping(note)).await;
    }
    submit(&db, &Urgent).await;
    let notes = Notes::default();
    let (pings, urgents) = (notes.clone(), notes.clone());
    let registry = Registry::new()
        .handle::<Ping, _, _>(move |_, job| {
            pings.add(job.note);
            async { Outcome::Done }
        })
        .handle::<Urgent, _, _>(move |_, _| {
            urgents.add("urgent");
            async { Outcome::Done }
        });
    let worker = Running::start(db, registry, &quick());
    reaches(&test, last, "done").await;
    worker.stop().await;
    assert_eq!(notes.list(), ["urgent", "1", "2", "3"]);
}
