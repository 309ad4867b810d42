//! A purge in the database: no table forgotten, and never more locks than a server has room for.

use bulkhead_kernel::ids::TenantId;
use bulkhead_tenancy::SchemaName;
use sqlx::{AssertSqlSafe, Executor, PgConnection};
use tokio_util::sync::CancellationToken;

use super::keeper;
use crate::harness::{Postgres, TestDb, run};

/// Every shared table in which tenants have rows. A purge deletes the rows of each by the catalog, a new one's too. Before
/// a table is added here somebody has thought about what else hangs on its rows: files, machines, keys in Redis.
/// The file of an export goes with its row: the sweep of archives removes files that no row names.
const SHARED: [&str; 19] = [
    "audit_heads",
    "audit_outbox",
    "doctor_tenants",
    "exports",
    "imports",
    "job_events",
    "job_files",
    "jobs",
    "membership_outbox",
    "membership_words",
    "memberships",
    "migration_tenants",
    "move_changes",
    "moves",
    "onboarding_steps",
    "placements",
    "refresh_tokens",
    "support_access",
    "vm_work",
];

#[tokio::test]
async fn what_hangs_on_the_rows_of_each_shared_table_was_thought_of() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let mut tx = db.owner().await.unwrap();
    assert_eq!(tx.list_shared_tables().await.unwrap(), SHARED);
}

#[tokio::test]
async fn no_other_shared_table_names_a_tenant_under_another_name() {
    let test = TestDb::new().await;
    let columns = sqlx::query_scalar!(
        r#"
        SELECT c.table_name || '.' || c.column_name AS "column!"
        FROM information_schema.columns AS c
        WHERE c.table_schema = 'control'
          AND c.column_name LIKE '%tenant%'
          AND c.column_name NOT IN ('tenant_id', 'n_tenants')
        "#
    )
    .fetch_all(&mut test.connect("postgres").await)
    .await
    .unwrap();
    assert_eq!(columns, [""; 0]);
}

/// A tenant with this many tables besides its own.
async fn fill(test: &TestDb, tenant: TenantId, n_tables: usize) {
    let mut admin = test.look_into(tenant).await;
    for first in (0..n_tables).step_by(20) {
        let tables = (first..first + 20).map(|n| {
            format!("CREATE TABLE extra_{n} (id uuid PRIMARY KEY, note text UNIQUE, n int CHECK (n > 0)); INSERT INTO extra_{n} VALUES (gen_random_uuid(), 'x', 1);")
        });
        run(&mut admin, &tables.collect::<String>()).await;
    }
}

async fn exists(admin: &mut PgConnection, tenant: TenantId) -> bool {
    let name = SchemaName::from(tenant).to_string();
    sqlx::query_scalar!(
        r#"
        SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)
            OR EXISTS (SELECT FROM pg_roles WHERE rolname = $1) AS "exists!"
        "#,
        name,
    )
    .fetch_one(admin)
    .await
    .unwrap()
}

#[tokio::test]
async fn four_hundred_tables_are_dropped_where_the_lock_table_has_no_room_for_them() {
    let small = "-c max_locks_per_transaction=24 -c max_connections=20 -c max_wal_senders=0 -c max_worker_processes=1 \
                 -c autovacuum=off";
    let server = Postgres::start_with(small).await;
    let test = TestDb::on(server.url()).await;
    let db = test.db(&[]);
    let tenant = test.tenant(&db, "acme").await;
    fill(&test, tenant, 400).await;
    let mut admin = test.connect("postgres").await;
    let at_once = format!("DROP SCHEMA {} CASCADE", SchemaName::from(tenant));
    let refused = admin.execute(sqlx::raw_sql(AssertSqlSafe(at_once))).await.unwrap_err();
    let code = refused.as_database_error().unwrap().code().unwrap().into_owned();
    assert_eq!(code, "53200", "this server has room enough: the test shows nothing");
    // A server reports an error before it lets the locks go; its next answer comes after.
    run(&mut admin, "SELECT 1").await;

    let mut n_rows = 0;
    loop {
        let mut tx = db.owner().await.unwrap();
        let dropped = tx.drop_tenant_tables(tenant).await.unwrap();
        tx.commit().await.unwrap();
        if dropped.is_empty() {
            break;
        }
        n_rows += dropped.iter().map(|table| table.rows).sum::<i64>();
    }
    assert_eq!(n_rows, 400);
    for _ in 0..2 {
        let mut tx = db.owner().await.unwrap();
        tx.drop_tenant_schema(tenant).await.unwrap();
        tx.commit().await.unwrap();
    }
    assert!(!exists(&mut admin, tenant).await);
}

#[tokio::test]
async fn a_purge_that_cannot_sign_waits_and_says_why_and_keeps_the_tenant() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let (tenant, other) = (test.tenant(&db, "acme").await, test.tenant(&db, "bolt").await);
    let mut admin = test.connect("postgres").await;
    let over = format!(
        "UPDATE control.tenants SET status = 'deleting', former_status = 'active', purge_at = now() WHERE id = '{}'",
        tenant.uuid()
    );
    run(&mut admin, &over).await;
    let (keeper, stop) = (keeper(&test, &db), CancellationToken::new());
    for _ in 0..2 {
        keeper.sweep(&stop).await.unwrap();
    }
    let step = sqlx::query!(
        "SELECT name, failures, last_error FROM control.purge_steps WHERE tenant_id = $1 AND NOT is_done",
        tenant.uuid(),
    )
    .fetch_one(&mut admin)
    .await
    .unwrap();
    assert_eq!((step.name.as_str(), step.failures), ("receipt", 1));
    assert!(step.last_error.unwrap().contains("keys"));
    assert!(!exists(&mut admin, tenant).await, "everything before it is done");
    assert!(exists(&mut admin, other).await);
    db.tenant(other).await.unwrap().commit().await.unwrap();
}

#[tokio::test]
async fn nothing_is_purged_before_its_grace_is_over() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let tenant = test.tenant(&db, "acme").await;
    let mut admin = test.connect("postgres").await;
    let waiting = format!(
        "UPDATE control.tenants SET status = 'deleting', former_status = 'active', purge_at = now() + interval '1 day' \
         WHERE id = '{}'",
        tenant.uuid()
    );
    run(&mut admin, &waiting).await;
    keeper(&test, &db).sweep(&CancellationToken::new()).await.unwrap();
    assert!(exists(&mut admin, tenant).await);
    db.tenant_for_platform(tenant).await.unwrap().commit().await.unwrap();
}
