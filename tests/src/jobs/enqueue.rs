//! A job exists exactly if the change that caused it does.

use bulkhead_jobs::{Job, Outcome, Owner, Registry, enqueue, enqueue_for};
use sqlx::{AssertSqlSafe, Executor};

use super::{Ping, Running, count, origin, ping, quick, reaches, submit};
use crate::harness::TestDb;

#[tokio::test]
async fn a_job_exists_exactly_if_its_transaction_commits() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let tenant = test.tenant(&db, "acme").await;

    let mut tx = db.tenant(tenant).await.unwrap();
    enqueue(&origin(), &mut tx, &ping("dropped")).await.unwrap().unwrap();
    drop(tx);
    let mut tx = db.control().await.unwrap();
    enqueue_for(&origin(), &mut tx, Owner::Platform, &ping("dropped"))
        .await
        .unwrap()
        .unwrap();
    drop(tx);
    assert_eq!(count(&test, Ping::KIND).await, 0);

    let mut tx = db.tenant(tenant).await.unwrap();
    let job = enqueue(&origin(), &mut tx, &ping("kept")).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    assert_eq!(count(&test, Ping::KIND).await, 1);
    let row = sqlx::query!(
        "SELECT tenant_id, principal, request_id, traceparent FROM control.jobs WHERE id = $1",
        job.uuid(),
    )
    .fetch_one(&mut test.connect("postgres").await)
    .await
    .unwrap();
    assert_eq!(row.tenant_id, Some(tenant.uuid()));
    let told = (row.principal, row.request_id, row.traceparent);
    assert_eq!(told, (origin().principal, origin().request_id, origin().traceparent));
}

#[tokio::test]
async fn a_hundred_equal_requests_at_once_make_one_job_and_no_error() {
    let test = TestDb::new().await;
    let db = test.db(&[("BULKHEAD__DATABASE__ACQUIRE_TIMEOUT_MS", "30000")]);
    let tenant = test.tenant(&db, "acme").await;
    let job = Ping {
        key: Some("once".into()),
        ..ping("parallel")
    };
    let requests = (0..100).map(|_| {
        let (db, job) = (db.clone(), job.clone());
        tokio::spawn(async move {
            let mut tx = db.tenant(tenant).await.unwrap();
            let id = enqueue(&origin(), &mut tx, &job).await.unwrap();
            tx.commit().await.unwrap();
            id
        })
    });
    let mut n_made = 0;
    for request in requests.collect::<Vec<_>>() {
        n_made += usize::from(request.await.unwrap().is_some());
    }
    assert_eq!(n_made, 1);
    assert_eq!(count(&test, Ping::KIND).await, 1);
}

#[tokio::test]
async fn a_key_is_a_tenants_own_and_free_again_when_its_job_is_finished() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let job = Ping {
        key: Some("key".into()),
        ..ping("keyed")
    };
    for name in ["acme", "globex"] {
        let tenant = test.tenant(&db, name).await;
        let mut tx = db.tenant(tenant).await.unwrap();
        assert!(enqueue(&origin(), &mut tx, &job).await.unwrap().is_some(), "{name}");
        assert!(
            enqueue(&origin(), &mut tx, &job).await.unwrap().is_none(),
            "{name} again"
        );
        tx.commit().await.unwrap();
        let mut tx = db.control().await.unwrap();
        let again = enqueue_for(&origin(), &mut tx, Owner::Tenant(tenant), &job)
            .await
            .unwrap();
        assert!(again.is_none(), "{name} from the shared schema");
    }
    let platform = submit(&db, &job).await;
    let registry = Registry::new().handle::<Ping, _, _>(|_, _| async { Outcome::Done });
    let worker = Running::start(db.clone(), registry, &quick());
    reaches(&test, platform, "done").await;
    worker.stop().await;
    assert_ne!(submit(&db, &job).await, platform);
}

#[tokio::test]
async fn a_tenants_role_can_only_enqueue_for_itself() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let (tenant, other) = (test.tenant(&db, "acme").await, test.tenant(&db, "globex").await);
    let arguments = "gen_random_uuid(), 'test.ping', 'default', '{}', 0::smallint, 1::smallint, 0, NULL, false, NULL, 'p', 'r', NULL";
    for sql in [
        "SELECT FROM control.jobs".to_owned(),
        format!("SELECT control.insert_job('{}', {arguments})", other.uuid()),
        format!("INSERT INTO control.jobs (tenant_id) VALUES ('{}')", other.uuid()),
    ] {
        let mut tx = db.tenant(tenant).await.unwrap();
        let error = tx
            .conn()
            .execute(sqlx::raw_sql(AssertSqlSafe(sql.as_str())))
            .await
            .unwrap_err();
        assert_eq!(
            error.as_database_error().unwrap().code().as_deref(),
            Some("42501"),
            "{sql}"
        );
    }
    // Outside a tenant there is nobody to enqueue for.
    let mut login = test.connect("bulkhead_tenant").await;
    let sql = format!("SELECT control.enqueue_job({arguments})");
    assert!(login.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.is_err());
    assert_eq!(count(&test, Ping::KIND).await, 0);
}
