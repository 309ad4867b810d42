//! What is finished goes after its time, and nothing else does.

use bulkhead_iam::{
    idempotency::jobs::{self as keys, PruneIdempotencyKeys},
    sessions::jobs::{self as sessions, PruneSessions},
};
use bulkhead_jobs::{
    Outcome, Registry,
    retention::{self, PruneJobs},
};
use bulkhead_kernel::config::JobRetention;
use sqlx::PgConnection;

use super::{Notes, Running, quick, reaches, submit};
use crate::harness::{TestDb, run};

const KEPT: JobRetention = JobRetention {
    done_days: 7,
    dead_days: 90,
};

/// Jobs of this kind that ended this many days ago, made a day before, with ids of that time.
async fn plant(admin: &mut PgConnection, kind: &str, state: &str, days: i32, n: i32) {
    let rows = format!(
        "INSERT INTO control.jobs (id, kind, queue, payload, max_attempts, principal, request_id, state, created_at, run_at, finished_at) \
         SELECT (lpad(to_hex((extract(EPOCH FROM now() - interval '{made} days') * 1000)::bigint), 12, '0') \
                 || '7' || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid, \
                '{kind}', 'default', 'null', 3, 'p', 'r', '{state}', now() - interval '{made} days', now() + interval '1 day', \
                CASE WHEN '{state}' <> 'queued' THEN now() - interval '{days} days' END \
         FROM generate_series(1, {n})",
        made = days + 1,
    );
    run(admin, &rows).await;
}

async fn left(admin: &mut PgConnection) -> Vec<(String, i64)> {
    sqlx::query_as("SELECT kind, count(*) FROM control.jobs WHERE kind LIKE 'old.%' GROUP BY kind ORDER BY kind")
        .fetch_all(admin)
        .await
        .unwrap()
}

#[tokio::test]
async fn finished_jobs_go_after_their_time_in_batches_and_all_others_stay() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let mut admin = test.connect("postgres").await;
    plant(&mut admin, "old.done", "done", 8, 2_300).await;
    plant(&mut admin, "old.done_lately", "done", 6, 3).await;
    plant(&mut admin, "old.dead", "dead", 91, 4).await;
    plant(&mut admin, "old.dead_lately", "dead", 89, 5).await;
    plant(&mut admin, "old.waiting", "queued", 200, 6).await;
    run(
        &mut admin,
        "INSERT INTO control.schedules (name, expression, time_zone, catch_up, kind, queue, payload, priority, max_attempts, next_tick_at, retired_at) \
         VALUES ('a.live', '0 0 1 1 *', 'UTC', 'one', 'x', 'default', '{}', 0, 1, now() + interval '1 year', NULL), \
                ('a.retired', '0 0 1 1 *', 'UTC', 'one', 'x', 'default', '{}', 0, 1, now(), now() - interval '91 days'); \
         INSERT INTO control.schedule_ticks (schedule, tick_at) VALUES ('a.live', now() - interval '8 days'), ('a.live', now() - interval '6 days'), \
                ('a.retired', now()); \
         INSERT INTO control.job_workers (name, version, kinds, concurrency, last_seen_at) VALUES ('gone', '0', '{}', 1, now() - interval '2 days')",
    )
    .await;

    let registry = Registry::new().handle::<PruneJobs, _, _>(|run, _| async move {
        retention::prune(&run, &KEPT).await.unwrap();
        Outcome::Done
    });
    let worker = Running::start(db.clone(), registry, &quick());
    reaches(&test, submit(&db, &PruneJobs {}).await, "done").await;
    let expected = [("old.dead_lately", 5), ("old.done_lately", 3), ("old.waiting", 6)];
    assert_eq!(left(&mut admin).await, expected.map(|(kind, n)| (kind.to_owned(), n)));
    let rest = sqlx::query!(
        r#"
        SELECT (SELECT array_agg(name) FROM control.schedules) AS "schedules!",
               (SELECT count(*) FROM control.schedule_ticks) AS "ticks!",
               (SELECT count(*) FROM control.job_workers WHERE name = 'gone') AS "gone!"
        "#
    )
    .fetch_one(&mut admin)
    .await
    .unwrap();
    assert_eq!(
        (rest.schedules, rest.ticks, rest.gone),
        (vec!["a.live".to_owned()], 1, 0)
    );
    worker.stop().await;
}

#[tokio::test]
async fn an_attempt_that_lost_its_lease_removes_nothing() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    plant(&mut test.connect("postgres").await, "old.done", "done", 8, 3).await;
    let (notes, there) = (Notes::default(), test.another());
    let noting = notes.clone();
    let registry = Registry::new().handle::<PruneJobs, _, _>(move |run, _| {
        let (notes, there) = (noting.clone(), there.another());
        async move {
            let mut admin = there.connect("postgres").await;
            sqlx::query("UPDATE control.jobs SET lease_token = gen_random_uuid() WHERE id = $1")
                .bind(run.job.uuid())
                .execute(&mut admin)
                .await
                .unwrap();
            let pruned = retention::prune(&run, &KEPT).await;
            notes.add(format!("{} {:?}", pruned.is_err(), left(&mut admin).await));
            Outcome::Done
        }
    });
    let worker = Running::start(db.clone(), registry, &quick());
    submit(&db, &PruneJobs {}).await;
    notes.wait_for(1).await;
    worker.stop().await;
    assert_eq!(notes.list()[0], r#"true [("old.done", 3)]"#);
}

#[tokio::test]
async fn sessions_that_ended_a_month_ago_go_with_their_tokens_and_all_others_stay() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let mut admin = test.connect("postgres").await;
    run(
        &mut admin,
        "INSERT INTO control.identities (id, email, first_name, last_name) \
         VALUES ('00000000-0000-7000-8000-000000000001', 'ada@example.org', 'Ada', 'L'); \
         INSERT INTO control.sessions (id, identity_id, device, methods, signed_in_at, last_used_at, expires_at, revoked_at, revoked_reason) \
         SELECT gen_random_uuid(), '00000000-0000-7000-8000-000000000001', device, '{pwd}', now(), now(), \
                now() + expires::interval, now() + revoked::interval, CASE WHEN revoked IS NOT NULL THEN 'logout' END \
         FROM (VALUES ('expired', '-31 days', NULL), ('expired lately', '-29 days', NULL), ('live', '9 days', NULL), \
                      ('left', '9 days', '-31 days'), ('left lately', '9 days', '-29 days')) AS s (device, expires, revoked); \
         INSERT INTO control.refresh_tokens (id, session_id, secret_hash, created_at, expires_at) \
         SELECT gen_random_uuid(), id, sha256('x'), now(), now() FROM control.sessions",
    )
    .await;
    let registry = Registry::new().handle::<PruneSessions, _, _>(|run, _| async move { sessions::prune(&run).await });
    let worker = Running::start(db.clone(), registry, &quick());
    reaches(&test, submit(&db, &PruneSessions {}).await, "done").await;
    worker.stop().await;
    let left: Vec<(String, i64)> = sqlx::query_as(
        "SELECT s.device, count(t.id) FROM control.sessions AS s JOIN control.refresh_tokens AS t ON t.session_id = s.id \
         GROUP BY s.device ORDER BY s.device",
    )
    .fetch_all(&mut admin)
    .await
    .unwrap();
    let expected = ["expired lately", "left lately", "live"].map(|device| (device.to_owned(), 1));
    assert_eq!(left, expected);
}

#[tokio::test]
async fn old_idempotency_keys_go_from_every_tenant_and_one_that_cannot_be_entered_keeps_no_other_one_waiting() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let mut tenants = Vec::new();
    for slug in ["frozen", "open", "suspended"] {
        let tenant = test.tenant(&db, slug).await;
        let keys = "INSERT INTO idempotency_keys (principal, route, key, request_hash, status, body, created_at) \
                    SELECT 'p', 'r', age, 'x', 201, '{}', now() - age::interval FROM unnest(ARRAY['8 days', '6 days', '1 minute']) AS age; \
                    INSERT INTO idempotency_keys (principal, route, key, request_hash, status, body, created_at) \
                    SELECT 'many', 'r', n::text, 'x', 201, '{}', now() - interval '9 days' FROM generate_series(1, 5100) AS n";
        run(&mut test.look_into(tenant).await, keys).await;
        tenants.push(tenant);
    }
    let change = format!(
        "UPDATE control.tenants SET frozen_by = gen_random_uuid() WHERE id = '{}'; \
         UPDATE control.tenants SET status = 'suspended', suspension = 'full' WHERE id = '{}'",
        tenants[0].uuid(),
        tenants[2].uuid(),
    );
    run(&mut test.connect("postgres").await, &change).await;
    let registry =
        Registry::new().handle::<PruneIdempotencyKeys, _, _>(|run, _| async move { keys::prune(&run).await });
    let worker = Running::start(db.clone(), registry, &quick());
    reaches(&test, submit(&db, &PruneIdempotencyKeys {}).await, "done").await;
    worker.stop().await;
    let mut left = Vec::new();
    for tenant in tenants {
        let n: i64 = sqlx::query_scalar("SELECT count(*) FROM idempotency_keys")
            .fetch_one(&mut test.look_into(tenant).await)
            .await
            .unwrap();
        left.push(n);
    }
    assert_eq!(left, [5_103, 2, 2]);
}
