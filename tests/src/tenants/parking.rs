//! What the sweep does with the jobs of a tenant whose state has changed.

use bulkhead_kernel::ids::TenantId;
use tokio_util::sync::CancellationToken;

use super::keeper;
use crate::harness::{TestDb, run};

/// More than one transaction parks.
const MANY: i32 = 12_001;

async fn enqueue_many(test: &TestDb, tenant: TenantId) {
    sqlx::query!(
        r#"
        INSERT INTO control.jobs (id, kind, queue, tenant_id, payload, max_attempts, principal, request_id)
        SELECT gen_random_uuid(), 'test.ping', 'default', $1, '{}', 4, 'nobody', 'none'
        FROM generate_series(1, $2)
        "#,
        tenant.uuid(),
        MANY,
    )
    .execute(&mut test.connect("postgres").await)
    .await
    .unwrap();
}

/// How many of the tenant's jobs are parked and how many are not.
async fn counts(test: &TestDb, tenant: TenantId) -> (i64, i64) {
    let row = sqlx::query!(
        r#"
        SELECT count(*) FILTER (WHERE is_parked) AS "parked!", count(*) FILTER (WHERE NOT is_parked) AS "free!"
        FROM control.jobs
        WHERE tenant_id = $1
        "#,
        tenant.uuid(),
    )
    .fetch_one(&mut test.connect("postgres").await)
    .await
    .unwrap();
    (row.parked, row.free)
}

async fn change(test: &TestDb, tenant: TenantId, assignments: &str) {
    let sql = format!(
        "UPDATE control.tenants SET {assignments} WHERE id = '{}'",
        tenant.uuid()
    );
    run(&mut test.connect("postgres").await, &sql).await;
}

#[tokio::test]
async fn jobs_follow_their_tenant_into_and_out_of_every_closed_state_in_batches() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let (tenant, other) = (test.tenant(&db, "acme").await, test.tenant(&db, "bolt").await);
    enqueue_many(&test, tenant).await;
    enqueue_many(&test, other).await;
    let (keeper, stop) = (keeper(&test, &db), CancellationToken::new());
    let many = i64::from(MANY);
    for closed in [
        "status = 'suspended', suspension = 'full'",
        "status = 'suspended', suspension = 'read_only'",
        "status = 'deleting'",
    ] {
        change(&test, tenant, closed).await;
        keeper.sweep(&stop).await.unwrap();
        assert_eq!(counts(&test, tenant).await, (many, 0), "{closed}");
        change(&test, tenant, "status = 'active', suspension = NULL").await;
        keeper.sweep(&stop).await.unwrap();
        assert_eq!(counts(&test, tenant).await, (0, many), "out of {closed}");
    }
    assert_eq!(counts(&test, other).await, (0, many), "nobody else's");
}

#[tokio::test]
async fn a_job_written_for_a_closed_tenant_is_parked_from_the_first_moment() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let tenant = test.tenant(&db, "acme").await;
    change(&test, tenant, "status = 'suspended', suspension = 'full'").await;
    enqueue_many(&test, tenant).await;
    assert_eq!(counts(&test, tenant).await, (i64::from(MANY), 0));
}
