//! Tenants that go on changing while they are copied.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bulkhead_kernel::{
    clock::Clock,
    fault::{Code, Fault as _},
    ids::TenantId,
};
use bulkhead_tenancy::{Cluster, Db, DbError, DbMeter, SchemaName};
use bulkhead_tenants::moves::{self, Move, MoveState};
use chrono::{DateTime, Utc};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Pair, cluster_b, is_gone, origin, rows, text};
use crate::harness::{TestDb, eventually, run};

/// What the catalog says of the tenant's schema here, as drift is looked for.
async fn described(test: &TestDb, tenant: TenantId) -> String {
    let sql = format!(
        "SELECT string_agg(line, E'\\n' ORDER BY line) FROM control.describe_schemas(ARRAY['{}'])",
        SchemaName::from(tenant)
    );
    text(&mut test.connect("postgres").await, &sql).await
}

/// How many triggers of moves are in this database, and how many keys and tenants are marked.
async fn captured(test: &TestDb) -> (String, String) {
    let triggers = "SELECT count(*)::text FROM pg_trigger WHERE tgfoid = 'control.capture_change()'::regprocedure";
    let marked = "SELECT ((SELECT count(*) FROM control.move_changes) \
                  + (SELECT count(*) FROM control.tenants WHERE captured_by IS NOT NULL))::text";
    let mut admin = test.connect("postgres").await;
    (text(&mut admin, triggers).await, text(&mut admin, marked).await)
}

/// Nothing is left of a capture in either database.
pub(super) async fn assert_nothing_captured(pair: &Pair) {
    for test in [&pair.home, &pair.b] {
        assert_eq!(captured(test).await, ("0".into(), "0".into()));
    }
}

/// One tenant transaction with these statements, as a request has it.
async fn change(db: &Db, tenant: TenantId, sql: &str) -> Result<(), DbError> {
    let work = async {
        let mut tx = db.tenant(tenant).await?;
        sqlx::Executor::execute(tx.conn(), sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))).await?;
        tx.commit().await
    };
    DbMeter::default().measure(work).await
}

/// What somebody was told is committed, and what was refused.
#[derive(Default)]
struct Told {
    members: BTreeMap<Uuid, String>,
    commits: Vec<DateTime<Utc>>,
    /// From before each refused try to after it.
    refusals: Vec<(DateTime<Utc>, DateTime<Utc>)>,
}

/// Writes rows under a few keys of its own until it is stopped: made, changed, removed, made again, and given another key.
fn writer(db: Db, tenant: TenantId, seed: u64, stop: CancellationToken) -> JoinHandle<Told> {
    let work = async move {
        let (clock, mut random, mut told) = (Clock::system(), StdRng::seed_from_u64(seed), Told::default());
        let keys: Vec<Uuid> = (0..8).map(|n| Uuid::from_u64_pair(seed, n)).collect();
        let mut n = 0;
        while !stop.is_cancelled() {
            n += 1;
            let (key, other) = (
                keys[random.gen_range(0..keys.len())],
                keys[random.gen_range(0..keys.len())],
            );
            let mut next = told.members.clone();
            let sql = if let Some(name) = next.remove(&key) {
                match random.gen_range(0..4) {
                    0 => format!("DELETE FROM members WHERE identity_id = '{key}'"),
                    1 if !next.contains_key(&other) => {
                        next.insert(other, name);
                        format!("UPDATE members SET identity_id = '{other}' WHERE identity_id = '{key}'")
                    }
                    _ => {
                        next.insert(key, format!("{n}"));
                        format!("UPDATE members SET last_name = '{n}' WHERE identity_id = '{key}'")
                    }
                }
            } else {
                next.insert(key, format!("{n}"));
                format!(
                    "INSERT INTO members (identity_id, email, first_name, last_name) \
                     VALUES ('{key}', '{seed}.{n}@example.com', 'w{seed}', '{n}')"
                )
            };
            let began = clock.now();
            match change(&db, tenant, &sql).await {
                Ok(()) => {
                    told.members = next;
                    told.commits.push(clock.now());
                }
                Err(error) => {
                    // Between the switch and the opening there is no place to write to.
                    let is_told = matches!(error.code(), Code::TenantMoving | Code::DatabaseUnavailable);
                    assert!(is_told, "{error:?}");
                    told.refusals.push((began, clock.now()));
                }
            }
        }
        told
    };
    tokio::spawn(work)
}

/// The members that writers made, wherever the tenant is.
async fn written(test: &TestDb, tenant: TenantId) -> BTreeMap<Uuid, String> {
    let written: Vec<(Uuid, String)> =
        sqlx::query_as("SELECT identity_id, last_name FROM members WHERE first_name LIKE 'w%'")
            .fetch_all(&mut test.look_into(tenant).await)
            .await
            .unwrap();
    written.into_iter().collect()
}

#[tokio::test]
async fn members_write_while_their_tenant_moves_and_what_they_were_told_is_committed_is_there() {
    let pair = Pair::new().await;
    let tenant = pair.tenant("acme").await;
    for to in [cluster_b(), Cluster::home()] {
        let stop = CancellationToken::new();
        let first = if to.is_home() { 100 } else { 1 };
        let writers: Vec<_> = (first..first + 3)
            .map(|seed| writer(pair.another(), tenant, seed, stop.clone()))
            .collect();
        let from = pair.place(tenant).await;
        eventually("they write", async || {
            (!written(pair.at(&from), tenant).await.is_empty()).then_some(())
        })
        .await;
        let moved = pair.moved(tenant, &to).await;
        assert_eq!(moved.state, MoveState::Done, "{moved:?}");
        stop.cancel();
        let (frozen, thawed) = (moved.frozen_at.unwrap(), moved.thawed_at.unwrap());
        let mut expected = BTreeMap::new();
        let mut n_during = 0;
        for writer in writers {
            let told = writer.await.unwrap();
            for (began, ended) in &told.refusals {
                assert!(
                    *ended >= frozen && *began <= thawed,
                    "refused from {began} to {ended}: {moved:?}"
                );
            }
            let during = told.commits.iter().filter(|at| (moved.created_at..frozen).contains(at));
            n_during += during.count();
            expected.extend(told.members);
        }
        assert!(n_during > 0, "nobody wrote while the rows were copied");
        assert_eq!(written(pair.at(&to), tenant).await, expected);
        assert!(is_gone(pair.at(&from), tenant).await);
        assert_nothing_captured(&pair).await;
        run(
            &mut pair.at(&to).look_into(tenant).await,
            "DELETE FROM members WHERE first_name LIKE 'w%'",
        )
        .await;
    }
}

/// Everything that is hard on who carries rows over one by one: a parent that is changed, or removed and made again, under
/// its children; names that change hands; keys that change; tables that fill and empty.
const TURMOIL: &str = r"
UPDATE roles SET description = 'changed' WHERE name = 'role 1';
DELETE FROM role_permissions WHERE role_id = (SELECT id FROM roles WHERE name = 'role 2');
WITH gone AS (SELECT id FROM roles WHERE name = 'role 3' AND NOT EXISTS (SELECT FROM member_roles WHERE role_id = roles.id))
DELETE FROM roles WHERE id IN (SELECT id FROM gone);
UPDATE roles SET name = 'between' WHERE name = 'role 4';
UPDATE roles SET name = 'role 4' WHERE name = 'role 5';
UPDATE roles SET name = 'role 5' WHERE name = 'between';
INSERT INTO api_keys (id, owner_kind, owner_id, name, hint, secret_hash, scopes, created_by, created_at, updated_at)
SELECT gen_random_uuid(), 'member', identity_id, email, 'x', sha256('x'), '{}', identity_id, now(), now() FROM members LIMIT 20;
UPDATE members SET identity_id = gen_random_uuid()
WHERE identity_id IN (SELECT owner_id FROM api_keys) AND identity_id NOT IN (SELECT identity_id FROM member_roles);
DELETE FROM members WHERE email = (SELECT min(email) FROM members);
INSERT INTO members (identity_id, email, first_name, last_name) VALUES ('00000000-0000-4000-8000-000000000001', gen_random_uuid() || '@example.com', 'Ada', '1');
DELETE FROM members WHERE identity_id = '00000000-0000-4000-8000-000000000001';
INSERT INTO members (identity_id, email, first_name, last_name) VALUES ('00000000-0000-4000-8000-000000000001', gen_random_uuid() || '@example.com', 'Ada', '2');
DELETE FROM resources;
INSERT INTO resources (id, type, name, attributes, created_by, created_at, updated_at)
VALUES (gen_random_uuid(), 'disk', 'new', '{}', 'x', now(), now());
";

#[tokio::test]
async fn whatever_changes_between_two_steps_is_carried_over() {
    let pair = Pair::new().await;
    let tenant = pair.tenant("acme").await;
    let free = "DELETE FROM member_roles WHERE identity_id IN (SELECT identity_id FROM members WHERE last_name > '5')";
    run(&mut pair.home.look_into(tenant).await, free).await;
    let before = described(&pair.home, tenant).await;
    let (mut moved, mut source) = (None::<Move>, BTreeMap::new());
    for state in [
        MoveState::Copying,
        MoveState::Verifying,
        MoveState::CatchingUp,
        MoveState::Freezing,
    ] {
        let now = match &moved {
            None => pair.moved_up_to(tenant, &cluster_b(), state).await,
            Some(begun) => pair.go_on_to(tenant, begun, state).await,
        };
        assert_eq!(now.frozen_at, None, "{now:?}");
        // One that was removed comes back under its key, in the next step.
        let again = format!(
            "{TURMOIL} DELETE FROM members WHERE identity_id = '00000000-0000-4000-8000-000000000001'; \
             INSERT INTO resources (id, type, name, attributes, created_by, created_at, updated_at) \
             VALUES (gen_random_uuid(), 'disk', '{}', '{{}}', 'x', now(), now());",
            state.as_str()
        );
        run(&mut pair.home.look_into(tenant).await, &again).await;
        assert_eq!(
            described(&pair.home, tenant).await,
            before,
            "a capture looks like drift"
        );
        source = rows(&pair.home, tenant).await;
        moved = Some(now);
    }
    moves::carry_out(&pair.db, moved.unwrap().id, None).await.unwrap();
    assert_eq!(pair.place(tenant).await, cluster_b());
    assert_eq!(rows(&pair.b, tenant).await, source);
    assert_eq!(described(&pair.b, tenant).await, before);
    assert_nothing_captured(&pair).await;
}

#[tokio::test]
async fn an_abort_at_any_step_leaves_the_source_serving_and_nothing_else_behind() {
    let pair = Pair::new().await;
    let tenant = pair.tenant("acme").await;
    for (from, to) in [(Cluster::home(), cluster_b()), (cluster_b(), Cluster::home())] {
        let before = described(pair.at(&from), tenant).await;
        for state in [
            MoveState::Preparing,
            MoveState::Copying,
            MoveState::Verifying,
            MoveState::CatchingUp,
            MoveState::Freezing,
            MoveState::Switching,
        ] {
            let moved = pair.moved_up_to(tenant, &to, state).await;
            if matches!(state, MoveState::Verifying | MoveState::CatchingUp) {
                assert_ne!(captured(pair.at(&from)).await.0, "0");
                change(&pair.db, tenant, "UPDATE roles SET description = 'live'")
                    .await
                    .unwrap();
            }
            let source = rows(pair.at(&from), tenant).await;
            moves::service::abort(&origin(), &pair.db, tenant, moved.id)
                .await
                .unwrap();
            moves::carry_out(&pair.db, moved.id, None).await.unwrap();
            assert_nothing_captured(&pair).await;
            assert_eq!(rows(pair.at(&from), tenant).await, source);
            assert_eq!(described(pair.at(&from), tenant).await, before);
            assert!(is_gone(pair.at(&to), tenant).await);
            change(&pair.db, tenant, "UPDATE roles SET description = 'again'")
                .await
                .unwrap();
        }
        pair.moved(tenant, &to).await;
    }
}

#[tokio::test]
async fn changes_that_could_not_be_captured_end_the_move() {
    let pair = Pair::new().await;
    let tenant = pair.tenant("acme").await;
    let blind = [
        ("roles", "DROP TRIGGER bulkhead_capture ON roles"),
        ("vms", "ALTER TABLE vms DISABLE TRIGGER USER"),
    ];
    for (table, sql) in blind {
        let moved = pair.moved_up_to(tenant, &cluster_b(), MoveState::CatchingUp).await;
        let mut inside = pair.home.look_into(tenant).await;
        let emptied = sqlx::raw_sql("TRUNCATE audit_events")
            .execute(&mut inside)
            .await
            .unwrap_err();
        assert_eq!(emptied.as_database_error().unwrap().code().unwrap(), "55006");
        run(&mut inside, sql).await;
        moves::carry_out(&pair.db, moved.id, None).await.unwrap();
        let ended = moves::service::get(&pair.db, tenant, moved.id).await.unwrap();
        assert_eq!(ended.state, MoveState::Aborted);
        assert_eq!(ended.error.unwrap(), format!("changes of {table} were not captured"));
        run(&mut inside, "ALTER TABLE vms ENABLE TRIGGER USER").await;
        assert_nothing_captured(&pair).await;
        change(&pair.db, tenant, "UPDATE roles SET description = 'again'")
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn who_holds_a_transaction_open_delays_the_move_and_not_the_other_members() {
    let pair = Arc::new(Pair::new().await);
    let tenant = pair.tenant("acme").await;
    let moved = pair.moved_up_to(tenant, &cluster_b(), MoveState::CatchingUp).await;
    let second = pair.another();
    let mut slow = second.tenant(tenant).await.unwrap();
    run(slow.conn(), "SET LOCAL idle_in_transaction_session_timeout = 0").await;
    let (work, held) = (Arc::clone(&pair), moved.id);
    let carried = tokio::spawn(async move { moves::carry_out(&work.db, held, None).await });
    eventually("the freeze was in vain", async || {
        let now = moves::service::get(&pair.db, tenant, moved.id).await.unwrap();
        (now.n_freezes > 0 && now.frozen_at.is_none()).then_some(())
    })
    .await;
    change(&second, tenant, "UPDATE roles SET description = 'meanwhile'")
        .await
        .unwrap();
    run(
        slow.conn(),
        "UPDATE members SET last_name = 'slow' WHERE email = 'm7@example.com'",
    )
    .await;
    slow.commit().await.unwrap();
    carried.await.unwrap().unwrap();
    let ended = moves::service::get(&pair.db, tenant, moved.id).await.unwrap();
    assert_eq!(ended.state, MoveState::Done, "{ended:?}");
    let kept = "SELECT (SELECT count(*) FROM roles WHERE description = 'meanwhile') || ' ' || last_name \
                FROM members WHERE email = 'm7@example.com'";
    assert_eq!(text(&mut pair.b.look_into(tenant).await, kept).await, "50 slow");
    assert_nothing_captured(&pair).await;
}

/// Prints how long a tenant of this many rows is copied, and frozen, while somebody writes. For docs/scaling.md:
/// `MOVED_ROWS=1000000 scripts/test placement::catching_up::measure --run-ignored all --no-capture`.
#[tokio::test]
#[ignore = "a measurement"]
#[expect(clippy::print_stdout, reason = "a measurement is there to be read")]
async fn measure_a_large_move() {
    let n_rows = crate::harness::optional_env("MOVED_ROWS").unwrap_or_else(|| "100000".into());
    let pair = Pair::new().await;
    let tenant = pair.tenant("acme").await;
    let fill = format!(
        "INSERT INTO audit_events (id, occurred_at, action, outcome, actor_kind, actor_id, targets, changes, request_id) \
         SELECT gen_random_uuid(), now(), 'vm.create', 'done', 'system', '', '[]', '{{\"name\": \"something\"}}', 'r' || n \
         FROM generate_series(1, {n_rows}) AS n"
    );
    run(&mut pair.home.look_into(tenant).await, &fill).await;
    let stop = CancellationToken::new();
    let (db, stopped) = (pair.another(), stop.clone());
    let steady = tokio::spawn(async move {
        let mut told = Vec::new();
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        let insert = "INSERT INTO audit_events (id, occurred_at, action, outcome, actor_kind, actor_id, targets, changes, request_id) \
                      VALUES (gen_random_uuid(), now(), 'vm.update', 'done', 'system', '', '[]', '{}', 'r'); \
                      UPDATE members SET last_name = last_name || 'x' WHERE email = 'm7@example.com'";
        while !stopped.is_cancelled() {
            ticks.tick().await;
            told.push(change(&db, tenant, insert).await.is_ok());
        }
        told
    });
    let moved = pair.moved(tenant, &cluster_b()).await;
    stop.cancel();
    let told = steady.await.unwrap();
    let (frozen, thawed) = (moved.frozen_at.unwrap(), moved.thawed_at.unwrap());
    println!(
        "{} rows, {} bytes, {:?}: {} ms in all, {} ms frozen, {} written meanwhile, {} refused",
        moved.n_rows,
        moved.n_bytes,
        moved.state,
        (moved.finished_at.unwrap() - moved.created_at).num_milliseconds(),
        (thawed - frozen).num_milliseconds(),
        told.iter().filter(|&&was_written| was_written).count(),
        told.iter().filter(|&&was_written| !was_written).count(),
    );
    assert_eq!(moved.state, MoveState::Done, "{moved:?}");
}
