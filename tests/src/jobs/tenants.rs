//! No job runs without the tenant it belongs to.

use bulkhead_jobs::{Outcome, Owner, Registry, enqueue_for};
use bulkhead_kernel::ids::TenantId;
use bulkhead_tenancy::DbError;

use super::{Notes, Ping, Running, origin, ping, quick, reaches, submit};
use crate::harness::TestDb;

#[tokio::test]
async fn a_job_of_a_tenant_that_does_not_exist_is_dead_and_never_runs() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let mut tx = db.control().await.unwrap();
    let owner = Owner::Tenant(TenantId::new());
    let job = enqueue_for(&origin(), &mut tx, owner, &ping("orphan"))
        .await
        .unwrap()
        .unwrap();
    tx.commit().await.unwrap();
    let notes = Notes::default();
    let noting = notes.clone();
    let registry = Registry::new().handle::<Ping, _, _>(move |_, job| {
        noting.add(job.note);
        async { Outcome::Done }
    });
    let worker = Running::start(db, registry, &quick());
    let dead = reaches(&test, job, "dead").await;
    worker.stop().await;
    assert_eq!(dead.last_error.as_deref(), Some("its tenant does not exist"));
    assert_eq!(notes.list(), [""; 0]);
}

#[tokio::test]
async fn a_handler_is_told_whom_it_works_for_and_enters_nobody_else() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let tenant = test.tenant(&db, "acme").await;
    let notes = Notes::default();
    let noting = notes.clone();
    let registry = Registry::new().handle::<Ping, _, _>(move |run, _| {
        let notes = noting.clone();
        async move {
            assert_eq!(run.origin, origin());
            match run.tenant_tx().await {
                Ok(tx) => notes.add(format!("{:?} enters {}", run.tenant, tx.tenant())),
                Err(DbError::TenantNotFound) => notes.add(format!("{:?} enters nobody", run.tenant)),
                Err(error) => notes.add(error.to_string()),
            }
            Outcome::Done
        }
    });
    let worker = Running::start(db.clone(), registry, &quick());
    reaches(&test, submit(&db, &ping("platform")).await, "done").await;
    let mut tx = db.control().await.unwrap();
    let job = enqueue_for(&origin(), &mut tx, Owner::Tenant(tenant), &ping("tenant"))
        .await
        .unwrap()
        .unwrap();
    tx.commit().await.unwrap();
    reaches(&test, job, "done").await;
    worker.stop().await;
    assert_eq!(
        notes.list(),
        [
            "None enters nobody".to_owned(),
            format!("Some({tenant}) enters {tenant}")
        ]
    );
}
