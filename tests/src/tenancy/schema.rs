//! Building a tenant's schema.

use bulkhead_tenancy::{SCHEMA_VERSION, SchemaName};

use crate::harness::TestDb;

#[tokio::test]
async fn building_twice_changes_nothing() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let tenant = test.tenant(&db, "acme").await;
    let mut tx = db.owner().await.unwrap();
    tx.create_tenant_role(tenant).await.unwrap();
    tx.create_tenant_schema(tenant).await.unwrap();
    tx.migrate_tenant_schema(tenant).await.unwrap();
    tx.commit().await.unwrap();
    let mut admin = test.connect("postgres").await;
    let version = sqlx::query_scalar!(
        "SELECT schema_version FROM control.tenants WHERE id = $1",
        tenant.uuid()
    )
    .fetch_one(&mut admin)
    .await
    .unwrap();
    assert_eq!(version, Some(SCHEMA_VERSION));
}

#[tokio::test]
async fn tenants_have_no_types_no_sequences_and_every_table_is_granted() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let tenant = test.tenant(&db, "acme").await;
    let schema = SchemaName::from(tenant).to_string();
    let mut admin = test.connect("postgres").await;
    let odd = sqlx::query_scalar!(
        r#"
        SELECT c.relname::text AS "name!"
        FROM pg_class AS c
        WHERE c.relnamespace = $1::text::regnamespace
          AND (c.relkind NOT IN ('r', 'i') OR (c.relkind = 'r' AND NOT has_table_privilege($1, c.oid, 'SELECT, INSERT')))
        UNION ALL
        SELECT t.typname
        FROM pg_type AS t
        WHERE t.typnamespace = $1::text::regnamespace
          AND t.typtype IN ('e', 'd')
        "#,
        schema,
    )
    .fetch_all(&mut admin)
    .await
    .unwrap();
    assert_eq!(odd, [""; 0]);
    let public = sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM pg_tables WHERE schemaname = 'public'"#)
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert_eq!(public, 0);
}

#[tokio::test]
async fn functions_with_the_owners_rights_pin_their_path_and_are_not_for_everybody() {
    let test = TestDb::new().await;
    let mut admin = test.connect("postgres").await;
    let loose = sqlx::query_scalar!(
        r#"
        SELECT p.proname::text AS "name!"
        FROM pg_proc AS p
        WHERE p.pronamespace = 'control'::regnamespace
          AND ((p.prosecdef AND NOT coalesce(p.proconfig @> ARRAY ['search_path=pg_catalog, pg_temp'], false))
            OR has_function_privilege('public', p.oid, 'EXECUTE'))
        "#
    )
    .fetch_all(&mut admin)
    .await
    .unwrap();
    assert_eq!(loose, [""; 0]);
}
