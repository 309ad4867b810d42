//! What the database itself refuses, even to code that is wrong (docs/isolation.md).

mod escapes;
mod functions;
mod leftovers;
mod matrix;
mod statements;

use bulkhead_kernel::ids::TenantId;
use bulkhead_tenancy::{Db, DbError, Message, SERVED_VERSIONS, SchemaName};
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};

use crate::harness::TestDb;

async fn tables(db: &TestDb, tenant: TenantId) -> Vec<String> {
    let mut admin = db.connect("postgres").await;
    sqlx::query_scalar!(
        r#"SELECT tablename::text AS "name!" FROM pg_tables WHERE schemaname = $1 ORDER BY 1"#,
        SchemaName::from(tenant).to_string(),
    )
    .fetch_all(&mut admin)
    .await
    .unwrap()
}

/// The SQLSTATE with which a statement is refused, or nothing when it is not.
async fn refusal(connection: &mut PgConnection, sql: &str) -> Option<String> {
    let error = connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.err()?;
    Some(error.as_database_error().unwrap().code().unwrap().into_owned())
}

const DENIED: &str = "42501";

#[tokio::test]
async fn the_login_role_reads_no_tenant_table_without_entering() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let tenant = test.tenant(&db, "acme").await;
    let schema = SchemaName::from(tenant);
    let mut login = test.connect("bulkhead_tenant").await;
    let tables = tables(&test, tenant).await;
    assert!(tables.len() >= 11, "{tables:?}");
    for table in tables {
        for sql in [
            format!("SELECT FROM {schema}.{table}"),
            format!("DELETE FROM {schema}.{table}"),
            format!("TRUNCATE {schema}.{table}"),
        ] {
            assert_eq!(refusal(&mut login, &sql).await.as_deref(), Some(DENIED), "{sql}");
        }
    }
    for sql in [
        "SELECT slug FROM control.tenants",
        "UPDATE control.tenants SET status = 'active'",
        "SELECT FROM control.identities",
        "CREATE TABLE public.x ()",
        "CREATE TEMP TABLE x ()",
    ] {
        assert_eq!(refusal(&mut login, sql).await.as_deref(), Some(DENIED), "{sql}");
    }
}

#[tokio::test]
async fn inside_one_tenant_every_statement_on_another_is_refused() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let (here, there) = (test.tenant(&db, "here").await, test.tenant(&db, "there").await);
    let other = SchemaName::from(there);
    for table in tables(&test, there).await {
        for sql in [
            format!("SELECT FROM {other}.{table}"),
            format!("INSERT INTO {other}.{table} DEFAULT VALUES"),
            format!("DELETE FROM {other}.{table}"),
        ] {
            let mut tx = db.tenant(here).await.unwrap();
            assert_eq!(refusal(tx.conn(), &sql).await.as_deref(), Some(DENIED), "{sql}");
        }
    }
    for sql in [
        format!("SELECT set_config('role', '{other}', true)"),
        format!("SELECT set_config('search_path', '{other}', true)"),
        format!("SELECT control.enter_tenant('{}', 1, 1000, 1, 1, false)", there.uuid()),
        format!("SELECT control.enter_tenant('{}', 1, 1000)", there.uuid()),
        format!("SELECT control.check_tenant('{}', 1)", there.uuid()),
        "SELECT FROM control.tenants".into(),
        "SELECT FROM control.jobs".into(),
        "SELECT FROM control.vm_work".into(),
        "SELECT FROM control.sessions".into(),
        "CREATE TABLE mine ()".into(),
        "CREATE TEMP TABLE members ()".into(),
    ] {
        let mut tx = db.tenant(here).await.unwrap();
        assert_eq!(refusal(tx.conn(), &sql).await.as_deref(), Some(DENIED), "{sql}");
    }
}

#[tokio::test]
async fn a_transaction_sees_its_own_tenant_and_leaves_nothing_behind() {
    let test = TestDb::new().await;
    let db = test.db(&[("BULKHEAD__DATABASE__TENANT_CONNECTIONS", "1")]);
    let (here, there) = (test.tenant(&db, "here").await, test.tenant(&db, "there").await);
    for tenant in [here, there, here] {
        let mut tx = db.tenant(tenant).await.unwrap();
        let row = sqlx::raw_sql("SELECT current_schema()::text, current_user::text")
            .fetch_one(tx.conn())
            .await
            .unwrap();
        let expected = SchemaName::from(tenant).to_string();
        assert_eq!(row.get::<String, _>(0), expected);
        assert_eq!(row.get::<String, _>(1), expected);
        tx.conn()
            .execute(sqlx::raw_sql("SET statement_timeout = 1234"))
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
    let message = Message::new().sql("SELECT current_user::text, current_setting('statement_timeout')");
    let rows = db.read(there, &message).await.unwrap();
    assert_eq!(rows[0][0].get::<String, _>(0), SchemaName::from(there).to_string());
    assert_ne!(rows[0][0].get::<String, _>(1), "1234ms");
}

#[tokio::test]
async fn unknown_pending_and_suspended_tenants_are_refused_before_any_query() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    assert!(matches!(db.tenant(TenantId::new()).await, Err(DbError::TenantNotFound)));
    let tenant = test.tenant(&db, "acme").await;
    assert!(db.tenant(tenant).await.is_ok());
    for (state, assignments) in [
        ("suspended", "status = 'suspended', suspension = 'full'"),
        ("deleting", "status = 'deleting', suspension = NULL"),
        ("pending", "status = 'pending'"),
    ] {
        change(&db, tenant, assignments).await;
        assert!(
            matches!(db.tenant(tenant).await, Err(DbError::TenantNotActive)),
            "{state}"
        );
        let read = db.read(tenant, &Message::new().sql("SELECT 1")).await;
        assert!(matches!(read, Err(DbError::TenantNotActive)), "{state}");
    }
}

#[tokio::test]
async fn a_tenant_suspended_to_read_only_can_be_read_and_not_changed_even_by_its_own_statements() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let tenant = test.tenant(&db, "acme").await;
    change(&db, tenant, "status = 'suspended', suspension = 'read_only'").await;
    db.read(tenant, &Message::new().sql("SELECT count(*) FROM members"))
        .await
        .unwrap();
    for write in [
        "DELETE FROM members",
        "SET transaction_read_only = off; DELETE FROM members",
    ] {
        let mut tx = db.tenant(tenant).await.unwrap();
        let refused = tx
            .conn()
            .execute(sqlx::raw_sql(AssertSqlSafe(write)))
            .await
            .unwrap_err();
        let refused = DbError::from(refused);
        assert!(
            matches!(refused, DbError::TenantReadOnly | DbError::Failed(_)),
            "{refused:?}"
        );
    }
    let mut tx = db.tenant_for_platform(tenant).await.unwrap();
    tx.conn().execute("DELETE FROM members").await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn the_platform_enters_what_is_closed_to_members_and_nobody_enters_what_is_not_built() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let tenant = test.tenant(&db, "acme").await;
    for closed in [
        "status = 'suspended', suspension = 'full'",
        "status = 'deleting', suspension = NULL",
    ] {
        change(&db, tenant, closed).await;
        assert!(
            matches!(db.tenant(tenant).await, Err(DbError::TenantNotActive)),
            "{closed}"
        );
        db.tenant_for_platform(tenant).await.unwrap().commit().await.unwrap();
    }
    change(&db, tenant, "status = 'pending'").await;
    assert!(matches!(
        db.tenant_for_platform(tenant).await,
        Err(DbError::TenantNotActive)
    ));
}

#[tokio::test]
async fn a_tenant_at_a_version_that_is_not_served_is_refused_alone() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let (behind, other) = (test.tenant(&db, "behind").await, test.tenant(&db, "other").await);
    for version in [*SERVED_VERSIONS.start() - 1, *SERVED_VERSIONS.end() + 1] {
        change(&db, behind, &format!("schema_version = {version}")).await;
        assert!(
            matches!(db.tenant(behind).await, Err(DbError::VersionNotServed)),
            "{version}"
        );
        db.tenant(other).await.unwrap().commit().await.unwrap();
    }
    change(&db, behind, &format!("schema_version = {}", SERVED_VERSIONS.end())).await;
    db.tenant(behind).await.unwrap().commit().await.unwrap();
}

/// Changes the tenant's row in the registry and lets routers know.
async fn change(db: &Db, tenant: TenantId, assignments: &str) {
    let mut tx = db.control().await.unwrap();
    let statement = format!(
        "UPDATE control.tenants SET epoch = epoch + 1, {assignments} WHERE id = '{}'",
        tenant.uuid()
    );
    tx.conn()
        .execute(sqlx::raw_sql(AssertSqlSafe(statement)))
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_router_that_is_behind_looks_again() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let tenant = test.tenant(&db, "acme").await;
    db.tenant(tenant).await.unwrap().commit().await.unwrap();
    change(&db, tenant, "status = 'active'").await;
    db.tenant(tenant).await.unwrap().commit().await.unwrap();
    change(&db, tenant, "status = 'active'").await;
    let rows = db
        .read(
            tenant,
            &Message::new().sql("SELECT 7::bigint").then().sql("SELECT 8::bigint"),
        )
        .await
        .unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[1][0].get::<i64, _>(0), 8);
}
