//! Citus in its schema mode, where the server of this run has the extension.

use crate::harness::TestDb;

#[tokio::test]
async fn where_citus_is_installed_a_tenant_is_a_distributed_schema() {
    let test = TestDb::new().await;
    let mut admin = test.connect("postgres").await;
    let is_there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'citus')")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    if !is_there {
        eprintln!("SKIPPED: this server has no extension citus");
        return;
    }
    crate::harness::run(&mut admin, "CREATE EXTENSION citus").await;
    let db = test.db(&[]);
    let tenant = test.tenant(&db, "acme").await;
    let mut tx = db.owner().await.unwrap();
    assert_eq!(tx.is_schema_distributed(tenant).await.unwrap(), Some(true));
}
