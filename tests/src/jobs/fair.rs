//! Who is served when, and how much of one tenant runs at a time.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bulkhead_jobs::{Job, Outcome, Registry, Worker};
use bulkhead_kernel::{
    config::Jobs,
    ids::{JobId, TenantId},
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use tokio::{sync::Semaphore, task::yield_now};
use uuid::Uuid;

use super::{Notes, Ping, Running, count, ping, quick, reaches, submit, submit_for};
use crate::harness::{TestDb, eventually, run};

/// Gives a tenant so many jobs at once.
async fn backlog(test: &TestDb, tenant: TenantId, note: &str, n: i32) {
    sqlx::query(
        "INSERT INTO control.jobs (id, kind, queue, tenant_id, payload, max_attempts, principal, request_id, run_at) \
         SELECT gen_random_uuid(), 'test.ping', 'default', $1, jsonb_build_object('note', $2::text), 4, 'p', 'r', \
                now() - interval '1 minute' \
         FROM generate_series(1, $3)",
    )
    .bind(tenant.uuid())
    .bind(note)
    .bind(n)
    .execute(&mut test.connect("postgres").await)
    .await
    .unwrap();
}

/// Puts tenants on a plan of their own.
async fn plan(test: &TestDb, tenants: &[TenantId], concurrency: u16, weight: u16) {
    let name = format!("plan_{concurrency}_{weight}");
    let mut admin = test.connect("postgres").await;
    run(
        &mut admin,
        &format!(
            "INSERT INTO control.plans (id, job_concurrency, job_weight) VALUES ('{name}', {concurrency}, {weight}) \
             ON CONFLICT DO NOTHING"
        ),
    )
    .await;
    for tenant in tenants {
        let sql = format!(
            "UPDATE control.tenants SET plan = '{name}' WHERE id = '{}'",
            tenant.uuid()
        );
        run(&mut admin, &sql).await;
    }
}

/// A claim as a worker makes it, and whose jobs it got.
async fn claim(conn: &mut PgConnection, after: Uuid, n_taken: i32, limit: i32) -> Vec<Uuid> {
    sqlx::query_scalar(
        "SELECT coalesce(tenant_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff') \
         FROM control.claim_jobs('{test.ping,test.urgent}', 'w', 3600000, $1, $2, $3)",
    )
    .bind(after)
    .bind(n_taken)
    .bind(limit)
    .fetch_all(conn)
    .await
    .unwrap()
}

/// Handlers that note their job and end when the gate lets them.
fn gated(gate: &Arc<Semaphore>, notes: &Notes) -> Registry {
    let (gate, notes) = (gate.clone(), notes.clone());
    Registry::new().handle::<Ping, _, _>(move |_, job| {
        let (gate, notes) = (gate.clone(), notes.clone());
        async move {
            notes.add(job.note);
            gate.acquire().await.unwrap().forget();
            Outcome::Done
        }
    })
}

#[tokio::test]
async fn a_single_job_is_the_next_to_start_beside_a_hundred_thousand_of_another_tenant() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let (greedy, modest) = (test.tenant(&db, "greedy").await, test.tenant(&db, "modest").await);
    backlog(&test, greedy, "greedy", 100_000).await;
    let (gate, notes) = (Arc::new(Semaphore::new(0)), Notes::default());
    let worker = Running::start(db.clone(), gated(&gate, &notes), &quick());
    for round in 0..3 {
        notes.wait_for(2 * round + 1).await;
        submit_for(&db, modest, &ping("modest")).await;
        gate.add_permits(1);
        notes.wait_for(2 * round + 2).await;
        gate.add_permits(1);
    }
    notes.wait_for(7).await;
    gate.add_permits(1_000);
    worker.stop().await;
    assert_eq!(
        notes.list()[..7],
        ["greedy", "modest", "greedy", "modest", "greedy", "modest", "greedy"]
    );
}

#[tokio::test]
async fn tenants_get_turns_as_their_plans_weigh_however_many_places_are_free() {
    for n_places in [1, 3, 8] {
        let test = TestDb::new().await;
        let db = test.db(&[]);
        let (heavy, light) = (test.tenant(&db, "heavy").await, test.tenant(&db, "light").await);
        plan(&test, &[heavy], 1_000, 3).await;
        plan(&test, &[light], 1_000, 1).await;
        backlog(&test, heavy, "heavy", 100).await;
        backlog(&test, light, "light", 100).await;
        let mut conn = test.connect("bulkhead_control").await;
        // As the worker counts its turns.
        let (mut lane, mut n_taken, mut order) = (Uuid::nil(), 0, Vec::new());
        while order.len() < 24 {
            for tenant in claim(&mut conn, lane, n_taken, n_places).await {
                n_taken = if tenant == lane { n_taken + 1 } else { 1 };
                lane = tenant;
                order.push(tenant == heavy.uuid());
            }
        }
        let n_heavy = order[..24].iter().filter(|is_heavy| **is_heavy).count();
        assert_eq!(n_heavy, 18, "{n_places} places: {order:?}");
    }
}

#[tokio::test]
async fn no_more_of_a_tenant_run_than_its_plan_allows_whoever_claims_at_once() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let mut tenants = Vec::new();
    for name in ["one", "two", "three"] {
        let tenant = test.tenant(&db, name).await;
        backlog(&test, tenant, name, 100).await;
        tenants.push(tenant);
    }
    plan(&test, &tenants, 4, 2).await;
    let mut claims = Vec::new();
    for n in 0..12_usize {
        let mut conn = test.connect("bulkhead_control").await;
        let after = tenants[n % 3].uuid();
        claims.push(tokio::spawn(async move {
            let mut claimed = Vec::new();
            for _ in 0..10 {
                claimed.extend(claim(&mut conn, after, 0, 3).await);
            }
            claimed
        }));
    }
    let mut n_running = BTreeMap::new();
    for claimed in claims {
        for tenant in claimed.await.unwrap() {
            *n_running.entry(tenant).or_insert(0) += 1;
        }
    }
    let expected: BTreeMap<Uuid, i32> = tenants.iter().map(|tenant| (tenant.uuid(), 4)).collect();
    assert_eq!(n_running, expected);
}

#[tokio::test]
async fn two_workers_keep_one_tenant_within_its_plan_and_finish_its_jobs() {
    const N_JOBS: i32 = 120;
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let tenant = test.tenant(&db, "acme").await;
    plan(&test, &[tenant], 3, 1).await;
    backlog(&test, tenant, "counted", N_JOBS).await;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let registry = || {
        let (now, most) = (now.clone(), most.clone());
        Registry::new().handle::<Ping, _, _>(move |_, _| {
            let (now, most) = (now.clone(), most.clone());
            async move {
                most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                for _ in 0..20 {
                    yield_now().await;
                }
                now.fetch_sub(1, SeqCst);
                Outcome::Done
            }
        })
    };
    let workers = [test.db(&[]), test.db(&[])].map(|db| {
        let worker = Worker::new(db, registry(), &quick()).unwrap();
        Running::of(worker.with_concurrency(8))
    });
    eventually("all are done", async || {
        let n_done: i64 = sqlx::query_scalar("SELECT count(*) FROM control.jobs WHERE state = 'done'")
            .fetch_one(&mut test.connect("postgres").await)
            .await
            .unwrap();
        (n_done == i64::from(N_JOBS)).then_some(())
    })
    .await;
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(most.load(SeqCst), 3);
}

#[tokio::test]
async fn a_tenant_at_its_limit_goes_on_as_soon_as_one_of_its_jobs_ends() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let tenant = test.tenant(&db, "acme").await;
    plan(&test, &[tenant], 1, 1).await;
    backlog(&test, tenant, "one by one", 5).await;
    let (gate, notes) = (Arc::new(Semaphore::new(1_000)), Notes::default());
    // It would not look by itself before this test has long failed.
    let settings = Jobs {
        poll: Duration::from_secs(3600),
        ..quick()
    };
    let worker = Worker::new(db, gated(&gate, &notes), &settings).unwrap();
    let worker = Running::of(worker.with_concurrency(4));
    notes.wait_for(5).await;
    worker.stop().await;
}

#[derive(Serialize, Deserialize)]
struct Urgent;

impl Job for Urgent {
    const KIND: &'static str = "test.urgent";
    const PRIORITY: i16 = 1;
}

#[tokio::test]
async fn what_a_tenant_finds_urgent_comes_before_its_own_jobs_and_not_before_anothers() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let mut tenants = [test.tenant(&db, "one").await, test.tenant(&db, "two").await];
    tenants.sort_by_key(|tenant| tenant.uuid());
    for tenant in tenants {
        backlog(&test, tenant, "ordinary", 2).await;
    }
    submit_for(&db, tenants[1], &Urgent).await;
    let order: Vec<String> =
        sqlx::query_scalar("SELECT kind FROM control.claim_jobs('{test.ping,test.urgent}', 'w', 1000, $1, 0, 4)")
            .bind(Uuid::nil())
            .fetch_all(&mut test.connect("bulkhead_control").await)
            .await
            .unwrap();
    assert_eq!(order, ["test.ping", "test.urgent", "test.ping", "test.ping"]);
}

#[tokio::test]
async fn free_places_are_filled_by_one_claim_and_none_is_overbooked() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    for _ in 0..20 {
        submit(&db, &ping("many")).await;
    }
    let (gate, notes) = (Arc::new(Semaphore::new(0)), Notes::default());
    let worker = Worker::new(db, gated(&gate, &notes), &quick()).unwrap();
    let worker = Running::of(worker.with_concurrency(8));
    notes.wait_for(8).await;
    let (n_running, n_claims): (i64, i64) =
        sqlx::query_as("SELECT count(*), count(DISTINCT started_at) FROM control.jobs WHERE state = 'running'")
            .fetch_one(&mut test.connect("postgres").await)
            .await
            .unwrap();
    assert_eq!((n_running, n_claims), (8, 1));
    gate.add_permits(3);
    notes.wait_for(11).await;
    assert_eq!(count(&test, Ping::KIND).await, 20);
    let n_running: i64 = sqlx::query_scalar("SELECT count(*) FROM control.jobs WHERE state = 'running'")
        .fetch_one(&mut test.connect("postgres").await)
        .await
        .unwrap();
    assert_eq!(n_running, 8);
    gate.add_permits(1_000);
    worker.stop().await;
}

#[tokio::test]
async fn a_thousand_tenants_that_are_gone_end_in_sight_and_hold_nobody_up() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let tenant = test.tenant(&db, "here").await;
    let gone = "INSERT INTO control.jobs (id, kind, queue, tenant_id, payload, max_attempts, principal, request_id) \
                SELECT gen_random_uuid(), 'test.ping', 'default', gen_random_uuid(), '{\"note\": \"gone\"}', 4, 'p', 'r' \
                FROM generate_series(1, 1000)";
    run(&mut test.connect("postgres").await, gone).await;
    let (gate, notes) = (Arc::new(Semaphore::new(1_000)), Notes::default());
    let job: JobId = submit_for(&db, tenant, &ping("here")).await;
    let worker = Worker::new(db, gated(&gate, &notes), &quick()).unwrap();
    let worker = Running::of(worker.with_concurrency(8));
    reaches(&test, job, "done").await;
    eventually("all others are dead", async || {
        let n: i64 = sqlx::query_scalar("SELECT count(*) FROM control.jobs WHERE state = 'dead'")
            .fetch_one(&mut test.connect("postgres").await)
            .await
            .unwrap();
        (n == 1_000).then_some(())
    })
    .await;
    worker.stop().await;
    assert_eq!(notes.list(), ["here"]);
}
