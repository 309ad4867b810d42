//! What happens to connections when callers hang up, fail, or find them dead.

use std::time::Duration;

use bulkhead_kernel::ids::TenantId;
use bulkhead_tenancy::{Db, DbError, Message, SchemaName};
use futures_util::future::join_all;
use sqlx::{Executor, Row};
use tokio::time::{sleep, timeout};

use crate::harness::{TestDb, eventually};

const WHO: &str = "SELECT current_user::text, current_schema()::text";

/// Fails unless a transaction and a read of this tenant see this tenant.
async fn assert_honest(db: &Db, tenant: TenantId) {
    let expected = SchemaName::from(tenant).to_string();
    let rows = db.read(tenant, &Message::new().sql(WHO)).await.unwrap();
    assert_eq!(rows[0][0].get::<String, _>(0), expected);
    let mut tx = db.tenant(tenant).await.unwrap();
    let row = sqlx::raw_sql(WHO).fetch_one(tx.conn()).await.unwrap();
    assert_eq!(row.get::<String, _>(1), expected);
    tx.commit().await.unwrap();
}

/// How many sessions of the tenant login sit in a transaction, or look anywhere but at the default path.
async fn sessions_in_transaction(test: &TestDb) -> i64 {
    let mut admin = test.connect("postgres").await;
    sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "count!"
        FROM pg_stat_activity
        WHERE datname = current_database()
          AND usename = 'bulkhead_tenant'
          AND state LIKE 'idle in transaction%'
        "#
    )
    .fetch_one(&mut admin)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_cancelled_entries_poison_nobody() {
    let test = TestDb::new().await;
    let db = test.db(&[
        ("BULKHEAD__DATABASE__TENANT_CONNECTIONS", "4"),
        ("BULKHEAD__DATABASE__ACQUIRE_TIMEOUT_MS", "20000"),
    ]);
    let tenants = [test.tenant(&db, "here").await, test.tenant(&db, "there").await];
    let hang_ups = (0..8_u64).map(|lane| {
        let db = db.clone();
        tokio::spawn(async move {
            for round in 0..2_500_u64 {
                let tenant = tenants[usize::from(round % 2 == 0)];
                // Cut at every stage: before the message, while it is under way, between the two, after the answer.
                let patience = Duration::from_micros((round * 37 + lane * 101) % 1_500);
                let _ = timeout(patience, async {
                    if round % 3 == 0 {
                        let _ = db.read(tenant, &Message::new().sql(WHO)).await;
                    } else {
                        let mut tx = db.tenant(tenant).await.unwrap();
                        let _ = tx.conn().execute(sqlx::raw_sql(WHO)).await;
                        let _ = tx.commit().await;
                    }
                })
                .await;
            }
        })
    });
    let honest = (0..4_usize).map(|lane| {
        let db = db.clone();
        tokio::spawn(async move {
            for round in 0..250 {
                assert_honest(&db, tenants[(lane + round) % 2]).await;
            }
        })
    });
    for ended in join_all(hang_ups.chain(honest)).await {
        ended.unwrap();
    }
    eventually("no session is left in a transaction", async || {
        (sessions_in_transaction(&test).await == 0).then_some(())
    })
    .await;
    for tenant in tenants {
        assert_honest(&db, tenant).await;
    }
}

#[tokio::test]
async fn a_failed_statement_spoils_the_commit_and_nothing_else() {
    let test = TestDb::new().await;
    let db = test.db(&[("BULKHEAD__DATABASE__TENANT_CONNECTIONS", "1")]);
    let tenant = test.tenant(&db, "acme").await;
    let mut tx = db.tenant(tenant).await.unwrap();
    assert!(tx.conn().execute(sqlx::raw_sql("SELECT 1 / 0")).await.is_err());
    assert!(matches!(tx.commit().await, Err(DbError::Failed(_))));
    assert_honest(&db, tenant).await;
}

#[tokio::test]
async fn a_transaction_dropped_half_way_is_rolled_back() {
    let test = TestDb::new().await;
    let db = test.db(&[("BULKHEAD__DATABASE__TENANT_CONNECTIONS", "1")]);
    let tenant = test.tenant(&db, "acme").await;
    let insert = "INSERT INTO roles (id, name, description, is_system) VALUES (gen_random_uuid(), 'x', '', false)";
    let mut tx = db.tenant(tenant).await.unwrap();
    tx.conn().execute(sqlx::raw_sql(insert)).await.unwrap();
    drop(tx);
    let rows = db
        .read(tenant, &Message::new().sql("SELECT count(*) FROM roles"))
        .await
        .unwrap();
    assert_eq!(rows[0][0].get::<i64, _>(0), 0);
}

#[tokio::test]
async fn when_all_connections_are_taken_callers_are_told_in_time() {
    let test = TestDb::new().await;
    let db = test.db(&[
        ("BULKHEAD__DATABASE__TENANT_CONNECTIONS", "1"),
        ("BULKHEAD__DATABASE__ACQUIRE_TIMEOUT_MS", "50"),
    ]);
    let tenant = test.tenant(&test.db(&[]), "acme").await;
    // To connect may take longer than anybody is to wait here.
    let held = eventually("there is a connection", async || db.tenant(tenant).await.ok()).await;
    assert!(matches!(db.tenant(tenant).await, Err(DbError::Unavailable(_))));
    held.commit().await.unwrap();
    assert_honest(&db, tenant).await;
}

#[tokio::test]
async fn connections_that_died_while_idle_are_replaced_unseen() {
    let test = TestDb::new().await;
    let db = test.db(&[("BULKHEAD__DATABASE__TENANT_CONNECTIONS", "2")]);
    let tenant = test.tenant(&db, "acme").await;
    assert_honest(&db, tenant).await;
    let mut admin = test.connect("postgres").await;
    for _ in 0..3 {
        sqlx::query!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename LIKE 'bulkhead_%'")
            .fetch_all(&mut admin)
            .await
            .unwrap();
        // The server closes them a little later than it says so.
        sleep(Duration::from_millis(20)).await;
        assert_honest(&db, tenant).await;
    }
}

/// The server process that answers this tenant.
async fn backend_of(db: &Db, tenant: TenantId) -> i32 {
    let rows = db
        .read(tenant, &Message::new().sql("SELECT pg_backend_pid()"))
        .await
        .unwrap();
    rows[0][0].get(0)
}

#[tokio::test]
async fn a_tenant_keeps_to_its_connection_and_a_hot_one_spills() {
    let test = TestDb::new().await;
    let db = test.db(&[("BULKHEAD__DATABASE__TENANT_CONNECTIONS", "2")]);
    let mut homes = Vec::new();
    for index in 0..20 {
        let tenant = test.tenant(&db, &format!("acme-{index}")).await;
        homes.push((tenant, backend_of(&db, tenant).await));
    }
    assert!(
        homes.iter().any(|(_, home)| *home != homes[0].1),
        "one connection serves them all"
    );
    for (tenant, home) in homes.iter().cycle().take(80) {
        assert_eq!(backend_of(&db, *tenant).await, *home);
    }

    let (hot, home) = homes[0];
    let held = db.tenant(hot).await.unwrap();
    assert_ne!(backend_of(&db, hot).await, home);
    held.commit().await.unwrap();
}
