//! What connections keep planned: it saves work and changes no answer.

use bulkhead_kernel::ids::TenantId;
use bulkhead_tenancy::{Db, Message};
use sqlx::{Executor, Row};

use crate::harness::{TestDb, run};

const ONE: (&str, &str) = ("BULKHEAD__DATABASE__TENANT_CONNECTIONS", "1");

/// The names of the tenant's roles.
async fn roles(db: &Db, tenant: TenantId) -> Vec<String> {
    let message = Message::new().sql("SELECT name FROM roles ORDER BY name LIMIT ").int(9);
    let results = db.read(tenant, &message).await.unwrap();
    results[0].iter().map(|row| row.get(0)).collect()
}

/// How often the statement was run from a plan, over all that the connection keeps.
async fn runs(db: &Db, tenant: TenantId) -> i64 {
    let message = Message::new().sql(
        "SELECT sum(generic_plans + custom_plans)::bigint FROM pg_catalog.pg_prepared_statements \
         WHERE statement LIKE '%SELECT name' || ' FROM roles%'",
    );
    let results = db.read(tenant, &message).await.unwrap();
    results[0][0].get::<Option<i64>, _>(0).unwrap_or(0)
}

/// A tenant with one role of its own name.
async fn tenant(test: &TestDb, db: &Db, name: &str) -> TenantId {
    let tenant = test.tenant(db, name).await;
    let insert =
        format!("INSERT INTO roles (id, name, description, is_system) VALUES (gen_random_uuid(), '{name}', '', false)");
    run(&mut test.look_into(tenant).await, &insert).await;
    tenant
}

#[tokio::test]
async fn tenants_on_one_connection_have_plans_and_rows_of_their_own() {
    let test = TestDb::new().await;
    let db = test.db(&[ONE]);
    let [a, b] = [tenant(&test, &db, "aa").await, tenant(&test, &db, "bb").await];
    for round in 1..=12 {
        assert_eq!(roles(&db, a).await, ["aa"], "round {round}");
        assert_eq!(roles(&db, b).await, ["bb"], "round {round}");
    }
    assert_eq!(runs(&db, a).await, 24, "every one of them was run from a plan");
}

#[tokio::test]
async fn no_plans_are_kept_where_the_settings_say_so() {
    let test = TestDb::new().await;
    for setting in ["KEPT_PLANS", "STATEMENT_CACHE"] {
        let db = test.db(&[ONE, (&format!("BULKHEAD__DATABASE__{setting}"), "0")]);
        let tenant = tenant(&test, &db, &format!("t{}", setting.len())).await;
        assert_eq!(roles(&db, tenant).await.len(), 1);
        assert_eq!(runs(&db, tenant).await, 0, "{setting}");
    }
}

#[tokio::test]
async fn a_plan_that_is_gone_costs_another_try_and_in_the_end_plans_are_given_up() {
    let test = TestDb::new().await;
    let db = test.db(&[ONE]);
    let tenant = tenant(&test, &db, "acme").await;
    let mut kept = Vec::new();
    for _ in 0..20 {
        assert_eq!(roles(&db, tenant).await, ["acme"]);
        kept.push(runs(&db, tenant).await > 0);
        let mut tx = db.tenant(tenant).await.unwrap();
        tx.conn().execute(sqlx::raw_sql("DEALLOCATE ALL")).await.unwrap();
        tx.commit().await.unwrap();
    }
    assert!(kept[0] && !kept[19], "{kept:?}");
}

#[tokio::test]
async fn a_changed_schema_is_planned_anew() {
    let test = TestDb::new().await;
    let db = test.db(&[ONE]);
    let tenant = tenant(&test, &db, "acme").await;
    assert_eq!(roles(&db, tenant).await, ["acme"]);
    let mut admin = test.look_into(tenant).await;
    // The first changes what the statement means, the second what it answers.
    for change in [
        "ALTER TABLE roles ADD COLUMN extra text; DROP INDEX roles_name_key",
        "ALTER TABLE roles ALTER COLUMN name TYPE varchar(60)",
    ] {
        run(&mut admin, change).await;
        assert_eq!(roles(&db, tenant).await, ["acme"], "{change}");
    }
}

#[tokio::test]
async fn what_fails_leaves_the_next_reader_unharmed() {
    let test = TestDb::new().await;
    let db = test.db(&[ONE]);
    let tenant = tenant(&test, &db, "acme").await;
    let divided = |by| Message::new().sql("SELECT 6 / ").int(by);
    for _ in 0..3 {
        assert!(db.read(tenant, &divided(0)).await.is_err());
        let rows = db.read(tenant, &divided(2)).await.unwrap();
        assert_eq!(rows[0][0].get::<i64, _>(0), 3);
    }
}
