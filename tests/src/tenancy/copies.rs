//! Whole tables out of a tenant.

use std::time::Duration;

use crate::harness::{TestDb, run};

/// What is left of a COPY would be taken for the answer to the next statement on its connection.
#[tokio::test]
async fn a_copy_that_is_given_up_leaves_nothing_for_the_next_tenant() {
    let test = TestDb::new().await;
    let db = test.db(&[("BULKHEAD__DATABASE__TENANT_CONNECTIONS", "1")]);
    let (acme, bolt) = (test.tenant(&db, "acme").await, test.tenant(&db, "bolt").await);
    let fill = "INSERT INTO roles (id, name, description, is_system) \
                SELECT gen_random_uuid(), 'role ' || n, repeat('x', 1000), false FROM generate_series(1, 2000) AS n";
    run(&mut test.look_into(acme).await, fill).await;
    for n_pieces in [0, 1, 1_999, 2_000] {
        let mut snapshot = db.snapshot(acme, Duration::from_secs(60)).await.unwrap();
        let tables = snapshot.tenant.tables().await.unwrap();
        let roles = tables.iter().find(|table| table.name() == "roles").unwrap();
        let mut rows = snapshot.tenant.copy_out(roles).await.unwrap();
        for _ in 0..n_pieces {
            assert!(rows.next().await.unwrap().is_some());
        }
        drop(rows);
        drop(snapshot);
        let mut tx = db.tenant(bolt).await.unwrap();
        for _ in 0..3 {
            let count = sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM roles"#)
                .fetch_one(tx.conn())
                .await;
            assert_eq!(count.unwrap(), 0, "after {n_pieces} pieces");
        }
        tx.commit().await.unwrap();
    }
}
