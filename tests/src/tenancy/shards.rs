//! Tenants belong to shards, each with a login and connections of its own.

use std::collections::BTreeMap;

use bulkhead_kernel::{ids::TenantId, secret::Secret};
use bulkhead_tenancy::{Db, Message, migrations::migrate_control};
use futures_util::future::join_all;
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};

use crate::harness::{TestDb, eventually, run};

const PER_SHARD: &str = "BULKHEAD__DATABASE__TENANTS_PER_SHARD";
const CONNECTIONS: &str = "BULKHEAD__DATABASE__TENANT_CONNECTIONS";
const PATIENCE: &str = "BULKHEAD__DATABASE__ACQUIRE_TIMEOUT_MS";

/// Tenants one after the other, so that each shard is full before the next is opened.
async fn tenants<const N: usize>(test: &TestDb, db: &Db) -> [TenantId; N] {
    let mut tenants = Vec::new();
    for index in 0..N {
        tenants.push(test.tenant(db, &format!("acme-{index}")).await);
    }
    tenants.try_into().unwrap()
}

/// The login and the server process that answer this tenant.
async fn served_by(db: &Db, tenant: TenantId) -> (String, i32) {
    let message = Message::new().sql("SELECT session_user::text, pg_backend_pid()");
    let rows = db.read(tenant, &message).await.unwrap();
    (rows[0][0].get(0), rows[0][0].get(1))
}

async fn scalar(connection: &mut PgConnection, sql: &str) -> i64 {
    let row = connection.fetch_one(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
    row.get(0)
}

/// Sessions of tenant logins, those that have been closed and are still on their way out included.
const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity \
                        WHERE datname = current_database() AND usename LIKE 'bulkhead_tenant%'";

#[tokio::test]
async fn a_full_shard_is_followed_by_another_and_the_least_filled_comes_first() {
    let test = TestDb::new().await;
    let db = test.db(&[(PER_SHARD, "2")]);
    let tenants = tenants::<5>(&test, &db).await;
    let mut logins = Vec::new();
    for tenant in tenants {
        logins.push(served_by(&db, tenant).await.0);
    }
    assert_eq!(
        logins,
        [
            "bulkhead_tenant",
            "bulkhead_tenant",
            "bulkhead_tenant_1",
            "bulkhead_tenant_1",
            "bulkhead_tenant_2"
        ]
    );
    let mut admin = test.connect("postgres").await;
    let gone = format!(
        "DELETE FROM control.tenants WHERE id IN ('{}', '{}')",
        tenants[2].uuid(),
        tenants[3].uuid()
    );
    run(&mut admin, &gone).await;
    let next = test.tenant(&db, "next").await;
    assert_eq!(served_by(&db, next).await.0, "bulkhead_tenant_1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_shard_gets_too_many_tenants_when_they_come_at_once() {
    let test = TestDb::new().await;
    let db = test.db(&[
        (PER_SHARD, "2"),
        ("BULKHEAD__DATABASE__OWNER_CONNECTIONS", "8"),
        (PATIENCE, "20000"),
    ]);
    let made = join_all((0..16).map(|index| {
        let (test, db) = (&test, db.clone());
        async move { test.tenant(&db, &format!("acme-{index}")).await }
    }));
    made.await;
    let mut admin = test.connect("postgres").await;
    let rows = admin
        .fetch_all("SELECT shard, count(*) FROM control.tenants GROUP BY shard ORDER BY shard")
        .await
        .unwrap();
    let filled: BTreeMap<i16, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(filled, (0..8).map(|shard| (shard, 2)).collect());
}

#[tokio::test]
async fn a_login_takes_no_role_of_another_shard() {
    let test = TestDb::new().await;
    let db = test.db(&[(PER_SHARD, "1")]);
    let [here, there] = tenants::<2>(&test, &db).await;
    for (login, own, foreign) in [("bulkhead_tenant", here, there), ("bulkhead_tenant_1", there, here)] {
        let mut session = test.connect(login).await;
        let enter =
            |tenant: TenantId| format!("SELECT control.enter_tenant('{}', 1, 1000, 1, 9, false)", tenant.uuid());
        run(&mut session, &enter(own)).await;
        let refused = session.execute(sqlx::raw_sql(AssertSqlSafe(enter(foreign)))).await;
        let code = refused.unwrap_err().into_database_error().unwrap();
        assert_eq!(code.code().as_deref(), Some("42501"), "{login}");
    }
}

#[tokio::test]
async fn a_hot_tenant_spills_inside_its_shard_and_never_beyond() {
    let test = TestDb::new().await;
    let db = test.db(&[(PER_SHARD, "1"), (CONNECTIONS, "4"), (PATIENCE, "60000")]);
    let [hot, other] = tenants::<2>(&test, &db).await;
    let (login, _) = served_by(&db, hot).await;
    served_by(&db, other).await;

    let mut held = db.tenant(hot).await.unwrap();
    let home: i32 = held.conn().fetch_one("SELECT pg_backend_pid()").await.unwrap().get(0);
    let (spilt_login, spilt) = served_by(&db, hot).await;
    assert_eq!(spilt_login, login);
    assert_ne!(spilt, home);
    let all = [held, db.tenant(hot).await.unwrap()];
    let mut third = Box::pin(db.tenant(hot));
    for _ in 0..20 {
        tokio::select! {
            biased;
            _ = &mut third => panic!("it was served although its shard had no connection left"),
            (login, _) = served_by(&db, other) => assert_eq!(login, "bulkhead_tenant_1"),
        }
    }
    for held in all {
        held.commit().await.unwrap();
    }
    let mut third = third.await.unwrap();
    let row = third.conn().fetch_one("SELECT session_user::text").await.unwrap();
    assert_eq!(row.get::<String, _>(0), login);
    third.commit().await.unwrap();
}

#[tokio::test]
async fn one_more_shard_takes_connections_from_the_others_and_leaves_them_the_rest() {
    let test = TestDb::new().await;
    let db = test.db(&[(PER_SHARD, "2"), (CONNECTIONS, "4")]);
    let [here, beside, there] = tenants::<3>(&test, &db).await;
    let mut held = Vec::new();
    for tenant in [here, beside, here, beside] {
        held.push(db.tenant(tenant).await.unwrap());
    }
    let mut old = Vec::new();
    for tx in &mut held {
        let row = tx.conn().fetch_one("SELECT pg_backend_pid()").await.unwrap();
        old.push(row.get::<i32, _>(0));
    }
    for tx in held {
        tx.commit().await.unwrap();
    }
    served_by(&db, there).await;
    for tenant in [here, beside] {
        assert!(old.contains(&served_by(&db, tenant).await.1), "it was connected anew");
    }
    let mut admin = test.connect("postgres").await;
    eventually("two of the first shard's connections are closed", async || {
        (scalar(&mut admin, SESSIONS).await == 3).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_shards_than_connections_share_them_and_never_exceed_the_total() {
    let test = TestDb::new().await;
    let db = test.db(&[(PER_SHARD, "1"), (CONNECTIONS, "3"), (PATIENCE, "60000")]);
    let tenants = tenants::<8>(&test, &db).await;
    let storm = join_all((0..24_usize).map(|lane| {
        let db = db.clone();
        tokio::spawn(async move {
            for round in 0..12 {
                let tenant = tenants[(lane + round) % 8];
                let mut tx = db.tenant(tenant).await.unwrap();
                tx.conn().execute("SELECT count(*) FROM roles").await.unwrap();
                // Some are given back by a rollback, which takes its time.
                if (lane + round) % 5 != 0 {
                    tx.commit().await.unwrap();
                }
            }
        })
    }));
    // One that is closing is idle, so that these can be counted exactly.
    let busy = format!("{SESSIONS} AND state IS DISTINCT FROM 'idle'");
    let mut admin = test.connect("postgres").await;
    let mut storm = std::pin::pin!(storm);
    let mut most = 0;
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut storm => break ended,
            count = scalar(&mut admin, &busy) => most = most.max(count),
        }
    };
    for ended in ended {
        ended.unwrap();
    }
    assert!((1..=3).contains(&most), "{most} connections at a time");
    eventually("no more than the total stay", async || {
        (scalar(&mut admin, SESSIONS).await <= 3).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_shards_login_may_what_the_first_may_and_no_more() {
    let test = TestDb::new().await;
    let db = test.db(&[(PER_SHARD, "1")]);
    tenants::<2>(&test, &db).await;
    let mut admin = test.connect("postgres").await;
    let missing = "SELECT count(*) FROM (SELECT control.privileges_of('bulkhead_tenant') \
                   EXCEPT SELECT control.privileges_of('bulkhead_tenant_1')) AS x";
    let beyond = "SELECT count(*) FROM (SELECT control.privileges_of('bulkhead_tenant_1') \
                  EXCEPT SELECT control.privileges_of('bulkhead_tenant')) AS x";
    let columns = "SELECT count(*) FROM control.privileges_of('bulkhead_tenant') AS p WHERE p LIKE 'SELECT (%'";
    assert!(scalar(&mut admin, columns).await >= 5);
    assert_eq!(
        (scalar(&mut admin, missing).await, scalar(&mut admin, beyond).await),
        (0, 0)
    );
    let odd = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'bulkhead_tenant\\_%' \
               AND (rolinherit OR rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)";
    assert_eq!(scalar(&mut admin, odd).await, 0);

    // As a later migration might do it, knowing nothing of shards.
    let later = "GRANT SELECT (name) ON control.tenants TO bulkhead_tenant; \
                 REVOKE SELECT (status) ON control.tenants FROM bulkhead_tenant; \
                 GRANT SELECT ON control.identities TO bulkhead_tenant_1";
    run(&mut admin, later).await;
    assert_eq!(
        (scalar(&mut admin, missing).await, scalar(&mut admin, beyond).await),
        (1, 2)
    );
    let url = Secret::new(test.url("postgres"));
    migrate_control(&url, [&url, &url]).await.unwrap();
    assert_eq!(
        (scalar(&mut admin, missing).await, scalar(&mut admin, beyond).await),
        (0, 0)
    );
}

#[tokio::test]
async fn all_shards_have_the_password_of_the_tenant_url() {
    let test = TestDb::new().await;
    let with = |password: &str| test.url("bulkhead_tenant").replace('@', &format!(":{password}@"));
    let url = with("one%20two");
    let db = test.db(&[(PER_SHARD, "1"), ("BULKHEAD__DATABASE__TENANT_URL", &url)]);
    let mut admin = test.connect("postgres").await;
    // Logins that no other test has: roles belong to the whole server.
    let begin = "SELECT control.make_shard_login(900::smallint), control.make_shard_login(901::smallint); \
                 ALTER ROLE bulkhead_tenant_901 PASSWORD NULL; \
                 DELETE FROM control.shards WHERE shard <> 900";
    run(&mut admin, begin).await;
    tenants::<2>(&test, &db).await;
    let password = "SELECT rolpassword FROM pg_authid WHERE rolname = 'bulkhead_tenant_901'";
    let first: Option<String> = admin.fetch_one(password).await.unwrap().get(0);
    assert!(first.is_some(), "a shard was opened without a password");

    let (owner, tenant) = (Secret::new(test.url("postgres")), Secret::new(with("three")));
    migrate_control(&owner, [&owner, &tenant]).await.unwrap();
    let second: Option<String> = admin.fetch_one(password).await.unwrap().get(0);
    assert!(second.is_some() && second != first, "the password did not change");
}
