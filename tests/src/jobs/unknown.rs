//! Kinds that no living worker knows are parked, in sight of operators, until one does.

use std::time::Duration;

use bulkhead_jobs::{
    Job, Outcome, Owner, Registry, enqueue_for, park,
    presence::{self, Presence, Unknown},
};
use bulkhead_kernel::ids::{JobId, TenantId};
use bulkhead_tenancy::Db;
use serde::{Deserialize, Serialize};

use super::{Ping, Running, origin, ping, quick, reaches, row, submit};
use crate::harness::{TestDb, eventually, run};

/// What only some workers know.
#[derive(Serialize, Deserialize)]
struct Rare;

impl Job for Rare {
    const KIND: &'static str = "test.rare";
}

fn pings() -> Registry {
    Registry::new().handle::<Ping, _, _>(|_, _| async { Outcome::Done })
}

fn rares() -> Registry {
    Registry::new().handle::<Rare, _, _>(|_, _| async { Outcome::Done })
}

async fn unknown(db: &Db) -> Vec<Unknown> {
    let mut tx = db.control().await.unwrap();
    presence::list_unknown(&mut tx).await.unwrap()
}

async fn present(db: &Db) -> Vec<Presence> {
    let mut tx = db.control().await.unwrap();
    presence::list(&mut tx).await.unwrap()
}

/// Whether a claim has to look at the job.
async fn is_in_sight(test: &TestDb, job: JobId) -> bool {
    sqlx::query_scalar!(
        "SELECT NOT is_parked AS \"is!\" FROM control.jobs WHERE id = $1",
        job.uuid()
    )
    .fetch_one(&mut test.connect("postgres").await)
    .await
    .unwrap()
}

async fn goes_out_of_sight(test: &TestDb, job: JobId) {
    eventually("the job is parked", async || {
        (!is_in_sight(test, job).await).then_some(())
    })
    .await;
}

/// Waits until the eldest worker has sorted the jobs once more: it parks a job of a kind that nobody ever knows.
async fn sorted(test: &TestDb, db: &Db) {
    #[derive(Serialize, Deserialize)]
    struct Nobodys;

    impl Job for Nobodys {
        const KIND: &'static str = "test.nobodys";
    }

    let probe = submit(db, &Nobodys).await;
    goes_out_of_sight(test, probe).await;
}

#[tokio::test]
async fn an_unknown_kind_leaves_the_sight_of_claims_and_comes_back_with_a_worker_that_knows_it() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let one = Running::start(db.clone(), pings(), &quick());
    let rare = submit(&db, &Rare).await;
    goes_out_of_sight(&test, rare).await;
    let waiting = unknown(&db).await;
    assert_eq!(
        (waiting.len(), waiting[0].kind.as_str(), waiting[0].n_jobs),
        (1, "test.rare", 1)
    );
    reaches(&test, submit(&db, &ping("known")).await, "done").await;
    let parked = row(&test, rare).await;
    assert_eq!((parked.state.as_str(), parked.attempt), ("queued", 0));

    let two = Running::start(db.clone(), rares(), &quick());
    assert_eq!(reaches(&test, rare, "done").await.attempt, 1);
    assert_eq!(unknown(&db).await, []);
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_kind_that_any_living_worker_knows_is_nobodys_to_park() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let one = Running::start(db.clone(), pings(), &quick());
    let two = Running::start(db.clone(), rares(), &quick());
    eventually("both are there", async || (present(&db).await.len() == 2).then_some(())).await;
    let kinds: Vec<_> = present(&db)
        .await
        .into_iter()
        .map(|one| (one.kinds, one.concurrency))
        .collect();
    assert_eq!(
        kinds,
        [(vec!["test.ping".to_owned()], 1), (vec!["test.rare".to_owned()], 1)]
    );
    // Due much later, so that it is there to be looked at.
    let rare = submit(&db, &Rare).await;
    reaches(&test, rare, "done").await;
    let later = submit(&db, &Later).await;
    let third = Running::start(db.clone(), laters(), &quick());
    sorted(&test, &db).await;
    assert!(is_in_sight(&test, later).await);

    // Told to stop, it is not counted on any more.
    third.stop().await;
    assert_eq!(present(&db).await.len(), 2);
    goes_out_of_sight(&test, later).await;
    one.stop().await;
    two.stop().await;
    assert_eq!(present(&db).await, []);
}

/// What is never due in a test.
#[derive(Serialize, Deserialize)]
struct Later;

impl Job for Later {
    const KIND: &'static str = "test.later";

    fn delay(&self) -> Duration {
        Duration::from_secs(3600)
    }
}

fn laters() -> Registry {
    Registry::new().handle::<Later, _, _>(|_, _| async { Outcome::Done })
}

#[tokio::test]
async fn a_killed_worker_is_counted_on_for_two_leases_and_no_longer() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let mut admin = test.connect("postgres").await;
    run(
        &mut admin,
        "INSERT INTO control.job_workers (name, version, kinds, concurrency, last_seen_at) \
         VALUES ('zz', '0', '{test.later}', 1, now() + interval '1 hour')",
    )
    .await;
    let later = submit(&db, &Later).await;
    let one = Running::start(db.clone(), pings(), &quick());
    sorted(&test, &db).await;
    assert!(is_in_sight(&test, later).await);
    run(
        &mut admin,
        "UPDATE control.job_workers SET last_seen_at = now() - interval '3.1 seconds' WHERE name = 'zz'",
    )
    .await;
    goes_out_of_sight(&test, later).await;
    one.stop().await;
}

async fn submit_for<J: Job>(db: &Db, tenant: TenantId, job: &J) -> JobId {
    let mut tx = db.control().await.unwrap();
    let id = enqueue_for(&origin(), &mut tx, Owner::Tenant(tenant), job)
        .await
        .unwrap()
        .unwrap();
    tx.commit().await.unwrap();
    id
}

#[tokio::test]
async fn a_job_that_waits_for_its_tenant_and_for_a_worker_waits_for_both() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let (open, closed) = (test.tenant(&db, "open").await, test.tenant(&db, "closed").await);
    let one = Running::start(db.clone(), pings(), &quick());
    let jobs = [submit_for(&db, open, &Rare).await, submit_for(&db, closed, &Rare).await];
    for job in jobs {
        goes_out_of_sight(&test, job).await;
    }
    let mut admin = test.connect("postgres").await;
    // The tenants are closed and resumed; neither makes the jobs known.
    for (tenant, is_parked) in [(open, true), (open, false), (closed, true)] {
        let mut tx = db.control().await.unwrap();
        park(&mut tx, tenant, is_parked).await.unwrap();
        tx.commit().await.unwrap();
    }
    for job in jobs {
        assert!(!is_in_sight(&test, job).await);
    }
    let close = format!(
        "UPDATE control.tenants SET status = 'suspended', suspension = 'full' WHERE id = '{}'",
        closed.uuid()
    );
    run(&mut admin, &close).await;
    let two = Running::start(db.clone(), rares(), &quick());
    reaches(&test, jobs[0], "done").await;
    eventually("both are known", async || unknown(&db).await.is_empty().then_some(())).await;
    assert_eq!(
        (
            row(&test, jobs[1]).await.state.as_str(),
            is_in_sight(&test, jobs[1]).await
        ),
        ("queued", false)
    );
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_retired_kind_is_still_run() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let rare = submit(&db, &Rare).await;
    let registry = pings().retired::<Rare, _, _>(|_, _| async { Outcome::Done });
    let worker = Running::start(db.clone(), registry, &quick());
    reaches(&test, rare, "done").await;
    worker.stop().await;
}
