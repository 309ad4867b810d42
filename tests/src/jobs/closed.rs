//! Jobs of tenants that are closed: they wait, cost others nothing, and go on.

use std::sync::Arc;

use bulkhead_jobs::{Outcome, Registry};
use bulkhead_kernel::ids::{JobId, TenantId};
use bulkhead_tenancy::{Db, DbError};
use tokio::sync::Notify;

use super::{Notes, Ping, Running, ping, quick, reaches, row, submit};
use crate::harness::{TestDb, eventually, run};

async fn submit_for(db: &Db, tenant: TenantId, note: &str) -> JobId {
    super::submit_for(db, tenant, &ping(note)).await
}

async fn change(test: &TestDb, tenant: TenantId, assignments: &str) {
    let sql = format!(
        "UPDATE control.tenants SET epoch = epoch + 1, {assignments} WHERE id = '{}'",
        tenant.uuid()
    );
    run(&mut test.connect("postgres").await, &sql).await;
}

const OPEN: &str = "status = 'active', suspension = NULL";

/// As the sweep does when the tenant is open again.
async fn free(db: &Db, tenant: TenantId) {
    let mut tx = db.control().await.unwrap();
    bulkhead_jobs::park(&mut tx, tenant, false).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn no_job_of_a_closed_tenant_is_claimed_even_before_it_is_parked() {
    for closed in [
        "status = 'suspended', suspension = 'full'",
        "status = 'suspended', suspension = 'read_only'",
        "status = 'deleting'",
    ] {
        let test = TestDb::new().await;
        let db = test.db(&[]);
        let tenant = test.tenant(&db, "acme").await;
        let before = submit_for(&db, tenant, "before").await;
        change(&test, tenant, closed).await;
        let meanwhile = submit_for(&db, tenant, "meanwhile").await;
        let others = submit(&db, &ping("others")).await;
        let registry = Registry::new().handle::<Ping, _, _>(|_, _| async { Outcome::Done });
        let worker = Running::start(db.clone(), registry, &quick());
        reaches(&test, others, "done").await;
        for job in [before, meanwhile] {
            let waiting = row(&test, job).await;
            assert_eq!((waiting.state.as_str(), waiting.attempt), ("queued", 0), "{closed}");
        }
        change(&test, tenant, OPEN).await;
        free(&db, tenant).await;
        for job in [before, meanwhile] {
            assert_eq!(reaches(&test, job, "done").await.attempt, 1);
        }
        worker.stop().await;
    }
}

#[tokio::test]
async fn a_job_whose_tenant_is_closed_under_it_is_put_off_and_loses_no_attempt() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let tenant = test.tenant(&db, "acme").await;
    let (started, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (starting, going) = (started.clone(), go_on.clone());
    let registry = Registry::new().handle::<Ping, _, _>(move |run, _| {
        let (starting, going) = (starting.clone(), going.clone());
        async move {
            run.tenant_tx().await?.commit().await?;
            starting.notify_one();
            going.notified().await;
            run.tenant_tx().await?.commit().await?;
            Ok::<(), DbError>(())
        }
    });
    let worker = Running::start(db.clone(), registry, &quick());
    let job = submit_for(&db, tenant, "interrupted").await;
    started.notified().await;
    change(&test, tenant, "status = 'suspended', suspension = 'full'").await;
    go_on.notify_one();
    let put_off = reaches(&test, job, "queued").await;
    assert_eq!((put_off.attempt, put_off.lost_leases), (0, 0));
    change(&test, tenant, OPEN).await;
    free(&db, tenant).await;
    started.notified().await;
    go_on.notify_one();
    assert_eq!(reaches(&test, job, "done").await.attempt, 1);
    worker.stop().await;
}

/// Rows of the table that statements have read so far, as soon as `n_written` writes are counted.
async fn rows_read(test: &TestDb, n_written: i64) -> i64 {
    let mut admin = test.connect("postgres").await;
    eventually("the statistics are there", async || {
        let counts = sqlx::query!(
            r#"
            SELECT n_tup_upd AS "written!", seq_tup_read + coalesce(idx_tup_fetch, 0) AS "read!"
            FROM pg_stat_user_tables
            WHERE schemaname = 'control'
              AND relname = 'jobs'
            "#
        )
        .fetch_one(&mut admin)
        .await
        .unwrap();
        (counts.written >= n_written).then_some(counts.read)
    })
    .await
}

#[tokio::test]
async fn a_hundred_thousand_parked_jobs_are_not_looked_at_by_those_who_claim_others() {
    let test = TestDb::new().await;
    // One connection makes all claims, and its statistics are complete when it has ended.
    let db = test.db(&[("BULKHEAD__DATABASE__CONTROL_CONNECTIONS", "1")]);
    let tenant = test.tenant(&db, "acme").await;
    change(&test, tenant, "status = 'suspended', suspension = 'full'").await;
    sqlx::query!(
        r#"
        INSERT INTO control.jobs (id, kind, queue, tenant_id, payload, max_attempts, principal, request_id)
        SELECT gen_random_uuid(), 'test.ping', 'default', $1, '{"note": "parked"}', 4, 'nobody', 'none'
        FROM generate_series(1, 100000)
        "#,
        tenant.uuid(),
    )
    .execute(&mut test.connect("postgres").await)
    .await
    .unwrap();
    // Nobody counts for the gauges meanwhile, who would look at some of them.
    run(
        &mut test.connect("postgres").await,
        "ANALYZE control.jobs; UPDATE control.job_gauges SET counted_at = 'infinity'",
    )
    .await;
    let before = rows_read(&test, 0).await;
    let n_jobs = 20_usize;
    for n in 0..n_jobs {
        submit(&db, &ping(&n.to_string())).await;
    }
    let notes = Notes::default();
    let noting = notes.clone();
    let registry = Registry::new().handle::<Ping, _, _>(move |_, job| {
        noting.add(job.note);
        async { Outcome::Done }
    });
    let worker = Running::start(db.clone(), registry, &quick());
    notes.wait_for(n_jobs).await;
    worker.stop().await;
    drop(db);
    assert!(!notes.list().contains(&"parked".to_owned()));
    let n_jobs = i64::try_from(n_jobs).unwrap();
    let read = rows_read(&test, 2 * n_jobs).await - before;
    assert!(read < 100 * n_jobs, "{n_jobs} jobs cost {read} rows");
}
