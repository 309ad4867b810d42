//! A slug may go to another tenant at any moment; nobody is let into the wrong one for it.

use bulkhead_kernel::ids::TenantId;
use bulkhead_tenancy::{Db, DbError, Slug, TenantSelector};

use crate::harness::TestDb;

/// Renames as the product does: the slug and the epoch in one statement.
async fn rename(test: &TestDb, tenant: TenantId, slug: &str) {
    sqlx::query!(
        "UPDATE control.tenants SET slug = $2, epoch = epoch + 1 WHERE id = $1",
        tenant.uuid(),
        slug,
    )
    .execute(&mut test.connect("postgres").await)
    .await
    .unwrap();
}

async fn resolve(db: &Db, slug: &str) -> Result<TenantId, DbError> {
    let slug: Slug = slug.parse().unwrap();
    db.resolve(&TenantSelector::Slug(slug)).await.map(|tenant| tenant.id)
}

#[tokio::test]
async fn a_slug_that_moves_to_another_tenant_leads_there_at_once_on_every_router() {
    let test = TestDb::new().await;
    let routers = [test.db(&[]), test.db(&[])];
    let (first, second) = (
        test.tenant(&routers[0], "acme").await,
        test.tenant(&routers[0], "bolt").await,
    );
    for router in &routers {
        assert_eq!(resolve(router, "acme").await.unwrap(), first);
        assert_eq!(resolve(router, "bolt").await.unwrap(), second);
    }
    rename(&test, first, "acme-old").await;
    for router in &routers {
        assert!(matches!(resolve(router, "acme").await, Err(DbError::TenantNotFound)));
    }
    rename(&test, second, "acme").await;
    for router in &routers {
        assert_eq!(resolve(router, "acme").await.unwrap(), second);
        assert_eq!(resolve(router, "acme-old").await.unwrap(), first);
        assert!(matches!(resolve(router, "bolt").await, Err(DbError::TenantNotFound)));
    }
}

#[tokio::test]
async fn an_old_slug_is_not_kept_alive_by_those_who_name_the_tenant_by_its_id() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let (first, second) = (test.tenant(&db, "acme").await, test.tenant(&db, "bolt").await);
    assert_eq!(resolve(&db, "acme").await.unwrap(), first);
    rename(&test, first, "acme-old").await;
    rename(&test, second, "acme").await;
    // Entering by id meets the new epoch and renews what the router knows of the tenant.
    db.tenant(first).await.unwrap().commit().await.unwrap();
    assert_eq!(resolve(&db, "acme").await.unwrap(), second);
}
