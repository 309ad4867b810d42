//! Connections are closed in time, and never at the wrong moment.

use std::collections::BTreeSet;

use bulkhead_kernel::{clock::Clock, ids::TenantId};
use bulkhead_tenancy::{Db, Message};
use chrono::{DateTime, TimeDelta};
use sqlx::{Executor, Row};

use crate::harness::{App, TestDb, eventually};

const ONE: (&str, &str) = ("BULKHEAD__DATABASE__TENANT_CONNECTIONS", "1");
const PER_CONNECTION: &str = "BULKHEAD__DATABASE__TENANTS_PER_CONNECTION";

async fn backend_of(db: &Db, tenant: TenantId) -> i32 {
    let message = Message::new().sql("SELECT pg_backend_pid()");
    db.read(tenant, &message).await.unwrap()[0][0].get(0)
}

#[tokio::test]
async fn a_connection_goes_when_it_has_met_enough_tenants() {
    let test = TestDb::new().await;
    let db = test.db(&[ONE, (PER_CONNECTION, "3")]);
    let [a, b, c] = [
        test.tenant(&db, "aa").await,
        test.tenant(&db, "bb").await,
        test.tenant(&db, "cc").await,
    ];
    let mut backends = Vec::new();
    for tenant in [a, b, a, b, b, c, a, a, b] {
        backends.push(backend_of(&db, tenant).await);
    }
    assert_eq!(
        BTreeSet::from_iter(&backends[..6]).len(),
        1,
        "{backends:?}: known tenants cost nothing"
    );
    assert_eq!(BTreeSet::from_iter(&backends[6..]).len(), 1, "{backends:?}");
    assert_ne!(backends[5], backends[6], "the third tenant was the last");
    let mut admin = test.connect("postgres").await;
    eventually("the old one is closed", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND usename = 'bulkhead_tenant'";
        let count: i64 = admin.fetch_one(sql).await.unwrap().get(0);
        (count == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_connection_goes_when_it_is_old() {
    let test = TestDb::new().await;
    let clock = Clock::manual(DateTime::default());
    let db = test.db_at(&clock, &[ONE, ("BULKHEAD__DATABASE__CONNECTION_MAX_AGE_SECS", "100")]);
    let tenant = test.tenant(&db, "acme").await;
    let first = backend_of(&db, tenant).await;
    clock.advance(TimeDelta::seconds(89));
    assert_eq!(backend_of(&db, tenant).await, first);
    assert_eq!(backend_of(&db, tenant).await, first);
    clock.advance(TimeDelta::seconds(11));
    // It serves whoever takes it next, who need not wait for another one, and is closed when it comes back.
    assert_eq!(backend_of(&db, tenant).await, first);
    let second = backend_of(&db, tenant).await;
    assert_ne!(second, first);
    assert_eq!(backend_of(&db, tenant).await, second);
}

#[tokio::test]
async fn no_transaction_is_cut_however_overdue_its_connection() {
    let test = TestDb::new().await;
    let clock = Clock::manual(DateTime::default());
    let db = test.db_at(&clock, &[ONE, (PER_CONNECTION, "1")]);
    let tenant = test.tenant(&db, "acme").await;
    let mut tx = db.tenant(tenant).await.unwrap();
    let pid = "SELECT pg_backend_pid()";
    let first: i32 = tx.conn().fetch_one(pid).await.unwrap().get(0);
    clock.advance(TimeDelta::days(365));
    let insert = "INSERT INTO roles (id, name, description, is_system) \
                  VALUES (gen_random_uuid(), gen_random_uuid()::text, '', false)";
    tx.conn().execute(insert).await.unwrap();
    assert_eq!(tx.conn().fetch_one(pid).await.unwrap().get::<i32, _>(0), first);
    tx.commit().await.unwrap();

    let mut tx = db.tenant(tenant).await.unwrap();
    let second: i32 = tx.conn().fetch_one(pid).await.unwrap().get(0);
    assert_ne!(second, first);
    let roles = tx.conn().fetch_one("SELECT count(*) FROM roles").await.unwrap();
    assert_eq!(roles.get::<i64, _>(0), 1, "the commit counts");
    // Dropped half-way: rolled back first, and closed then.
    tx.conn().execute(insert).await.unwrap();
    drop(tx);
    assert_ne!(backend_of(&db, tenant).await, second);
    let mut tx = db.tenant(tenant).await.unwrap();
    let roles = tx.conn().fetch_one("SELECT count(*) FROM roles").await.unwrap();
    assert_eq!(roles.get::<i64, _>(0), 1, "the rollback counts");
}

#[tokio::test]
async fn the_provisioners_connections_go_too() {
    let test = TestDb::new().await;
    let db = test.db(&[("BULKHEAD__DATABASE__OWNER_CONNECTIONS", "1"), (PER_CONNECTION, "2")]);
    let mut backends = Vec::new();
    for index in 0..4 {
        let mut tx = db.owner().await.unwrap();
        backends.push(
            tx.conn()
                .fetch_one("SELECT pg_backend_pid()")
                .await
                .unwrap()
                .get::<i32, _>(0),
        );
        tx.commit().await.unwrap();
        test.tenant(&db, &format!("acme-{index}")).await;
    }
    assert_eq!(backends[0], backends[1]);
    assert_ne!(backends[1], backends[2], "it had built two tenants");
    assert_eq!(backends[2], backends[3]);
}

#[tokio::test]
async fn without_affinity_whatever_is_free_serves() {
    let test = TestDb::new().await;
    let settings = |affinity| {
        [
            ("BULKHEAD__DATABASE__TENANT_CONNECTIONS", "8"),
            ("BULKHEAD__DATABASE__AFFINITY", affinity),
        ]
    };
    let (with, without) = (test.db(&settings("true")), test.db(&settings("false")));
    let (mut homes, mut anywhere) = (BTreeSet::new(), BTreeSet::new());
    for index in 0..12 {
        let tenant = test.tenant(&with, &format!("acme-{index}")).await;
        homes.insert(backend_of(&with, tenant).await);
        anywhere.insert(backend_of(&without, tenant).await);
    }
    assert!(homes.len() > 1);
    assert_eq!(anywhere.len(), 1);
}

#[tokio::test]
async fn operators_see_what_connections_hold() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    ada.client.get("/api/v1/vms").await.expect(200);
    let text = app.internal.get("/metrics").await.text;
    let value = |name: &str| -> f64 {
        let head = format!("{name}{{pool=\"tenant\",shard=\"0\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&head));
        line.unwrap_or_else(|| panic!("no {head} in {text}")).parse().unwrap()
    };
    let open = value("db_connections");
    assert!(open >= 1.0);
    assert!(value("db_connection_tenants") >= open && value("db_connection_tenants_most") >= 1.0);
    assert!(value("db_connection_memory_bytes") > open * 4e6);
}
