//! Citus in its schema mode, where the server of this run has the extension.

use bulkhead_kernel::{fault::Fault as _, origin::Origin};
use bulkhead_tenants::moves::service::move_to_node;

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
    drop(tx);
    // The only node there is, under a name that Citus does not know.
    let moved = move_to_node(&Origin::system("test"), &db, tenant, ("nowhere.invalid", 5432)).await;
    assert!(moved.is_err());
}

#[tokio::test]
async fn without_citus_there_is_no_node_to_move_to() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let tenant = test.tenant(&db, "acme").await;
    let moved = move_to_node(&Origin::system("test"), &db, tenant, ("worker-1", 5432)).await;
    assert_eq!(
        moved.unwrap_err().violations()[0].detail,
        "the tenant's cluster has no Citus, and no nodes"
    );
}
