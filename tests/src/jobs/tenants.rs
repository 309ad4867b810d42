//! No job runs without the tenant it belongs to.

use bulkhead_jobs::{Outcome, Owner, Registry, enqueue_for};
use bulkhead_kernel::{
    config::{Config, ConfigSource},
    ids::{IdentityId, InvitationId, JobId, MessageId, TenantId, VmId, WebhookId},
};
use bulkhead_tenancy::{Db, DbError, SchemaName};
use bulkhead_worker::registry::{Parts, registry};
use serde_json::{Value, json};

use super::{Notes, Ping, Running, origin, ping, quick, reaches, submit};
use crate::harness::{TestDb, run};

#[tokio::test]
async fn a_job_of_a_tenant_that_does_not_exist_is_dead_and_never_runs() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let mut tx = db.control().await.unwrap();
    let owner = Owner::Tenant(TenantId::new());
    let job = enqueue_for(&origin(), &mut tx, owner, &ping("orphan"))
        .await
        .unwrap()
        .unwrap();
    tx.commit().await.unwrap();
    let notes = Notes::default();
    let noting = notes.clone();
    let registry = Registry::new().handle::<Ping, _, _>(move |_, job| {
        noting.add(job.note);
        async { Outcome::Done }
    });
    let worker = Running::start(db, registry, &quick());
    let dead = reaches(&test, job, "dead").await;
    worker.stop().await;
    assert_eq!(dead.last_error.as_deref(), Some("its tenant does not exist"));
    assert_eq!(notes.list(), [""; 0]);
}

#[tokio::test]
async fn a_handler_is_told_whom_it_works_for_and_enters_nobody_else() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let tenant = test.tenant(&db, "acme").await;
    let notes = Notes::default();
    let noting = notes.clone();
    let registry = Registry::new().handle::<Ping, _, _>(move |run, _| {
        let notes = noting.clone();
        async move {
            assert_eq!(run.origin, origin());
            match run.tenant_tx().await {
                Ok(tx) => notes.add(format!("{:?} enters {}", run.tenant, tx.tenant())),
                Err(DbError::TenantNotFound) => notes.add(format!("{:?} enters nobody", run.tenant)),
                Err(error) => notes.add(error.to_string()),
            }
            Outcome::Done
        }
    });
    let worker = Running::start(db.clone(), registry, &quick());
    reaches(&test, submit(&db, &ping("platform")).await, "done").await;
    let mut tx = db.control().await.unwrap();
    let job = enqueue_for(&origin(), &mut tx, Owner::Tenant(tenant), &ping("tenant"))
        .await
        .unwrap()
        .unwrap();
    tx.commit().await.unwrap();
    reaches(&test, job, "done").await;
    worker.stop().await;
    assert_eq!(
        notes.list(),
        [
            "None enters nobody".to_owned(),
            format!("Some({tenant}) enters {tenant}")
        ]
    );
}

/// A row as somebody who is wrong, or means ill, would write it.
async fn plant(test: &TestDb, kind: &str, tenant: Option<TenantId>, payload: &Value) -> JobId {
    let id = JobId::new();
    sqlx::query(
        "INSERT INTO control.jobs (id, kind, queue, tenant_id, payload, max_attempts, principal, request_id) \
         VALUES ($1, $2, 'default', $3, $4, 5, 'p', 'r')",
    )
    .bind(id.uuid())
    .bind(kind)
    .bind(tenant.map(TenantId::uuid))
    .bind(payload)
    .execute(&mut test.connect("postgres").await)
    .await
    .unwrap();
    id
}

/// The product's own handlers, as the worker runs them.
fn product(test: &TestDb, db: &Db) -> Registry {
    let config = Config::load_for(ConfigSource::from_env(test.settings()), &[]);
    let config = config.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    registry(Parts::new(db.clone(), &config).unwrap())
}

/// A tenant that is not built yet, with the steps that would build it.
async fn pending(test: &TestDb, slug: &str) -> TenantId {
    let tenant = TenantId::new();
    let rows = format!(
        "INSERT INTO control.tenants (id, slug, name) VALUES ('{id}', '{slug}', '{slug}'); \
         INSERT INTO control.onboarding_steps (tenant_id, position, name) VALUES ('{id}', 1, 'role')",
        id = tenant.uuid(),
    );
    run(&mut test.connect("postgres").await, &rows).await;
    tenant
}

/// The kinds that do the platform's own work, so that a row without a tenant is right; why.
const OF_THE_PLATFORM: &[(&str, &str)] = &[
    ("idempotency_keys.prune", "goes from tenant to tenant"),
    ("jobs.prune", "removes what is over, of all tenants"),
    (
        "mail.send",
        "tells somebody that their account exists; takes nothing from a tenant",
    ),
    ("migrations.run", "carries out what an operator ordered for all tenants"),
    ("sessions.prune", "people belong to no tenant"),
    (
        "tenants.export",
        "goes on while its tenant is suspended; the export says who asked",
    ),
    (
        "tenants.import",
        "makes a tenant that has no work of its own yet; only operators ask",
    ),
    (
        "tenants.move",
        "goes on while its tenant is frozen, as which it is parked",
    ),
];

/// The kinds whose payload says nothing, so that every one can be read.
const WITHOUT_PAYLOAD: [&str; 3] = ["idempotency_keys.prune", "jobs.prune", "sessions.prune"];

#[tokio::test]
async fn rows_whose_tenant_is_missing_deleted_foreign_or_malformed_are_dead_in_sight_and_never_run() {
    let test = TestDb::new().await;
    let db = test.db(&[]);
    let registry = product(&test, &db);
    let kinds: Vec<&str> = registry.kinds().collect();
    let (own, deleted) = (test.tenant(&db, "own").await, test.tenant(&db, "deleted").await);
    let mut admin = test.connect("postgres").await;
    let delete = format!("DELETE FROM control.tenants WHERE id = '{}'", deleted.uuid());
    run(&mut admin, &delete).await;
    let victim = pending(&test, "victim").await;
    let onboard = json!({ "tenant": victim, "owner": IdentityId::new() });
    let reconcile = json!({ "vm_id": VmId::new() });
    let report = json!({ "from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z" });
    let import = json!({ "resources": [{}] });
    let nothing = json!({});
    let announce =
        json!({ "job": VmId::new().uuid(), "kind": "usage.report", "state": "done", "at": "2026-01-01T00:00:00Z" });
    let names = json!({ "identity": IdentityId::new() });
    let deliver = json!({ "webhook_id": WebhookId::new(), "message_id": MessageId::new(), "round": 0 });
    let (since, until) = ("2026-11-20T12:00:00Z", "2026-11-21T12:00:00Z");
    let replay = json!({ "webhook_id": WebhookId::new(), "since": since, "until": until });
    let invite = json!({ "invitation": InvitationId::new(), "generation": 1 });

    let mut planted = Vec::new();
    for kind in &kinds {
        for gone in [TenantId::new(), deleted] {
            let job = plant(&test, kind, Some(gone), &json!({})).await;
            planted.push((job, *kind, "its tenant does not exist"));
        }
        let job = plant(&test, kind, Some(own), &json!({ "tenant": 7 })).await;
        let reason = if WITHOUT_PAYLOAD.contains(kind) {
            "it belongs to another tenant than its payload"
        } else {
            "the payload cannot be read"
        };
        planted.push((job, *kind, reason));
        if !OF_THE_PLATFORM.iter().any(|(platform, _)| platform == kind) {
            let payload = match *kind {
                "tenants.onboard" => &onboard,
                "invitations.send" => &invite,
                "members.copy_names" => &names,
                "vms.reconcile" => &reconcile,
                "webhooks.deliver" => &deliver,
                "webhooks.replay" => &replay,
                "jobs.announce" => &announce,
                "usage.report" => &report,
                "resources.import" => &import,
                "tenant.export" => &nothing,
                _ => panic!("say with which payload {kind} is to be refused, or that it is the platform's"),
            };
            let job = plant(&test, kind, None, payload).await;
            planted.push((job, *kind, "it belongs to another tenant than its payload"));
        }
    }
    let foreign = plant(&test, "tenants.onboard", Some(own), &onboard).await;
    planted.push((
        foreign,
        "tenants.onboard",
        "it belongs to another tenant than its payload",
    ));

    let worker = Running::start(db, registry, &quick());
    for (job, kind, reason) in planted {
        let dead = reaches(&test, job, "dead").await;
        let error = dead.last_error.unwrap();
        assert!(error.starts_with(reason), "{kind}: {error}");
    }
    worker.stop().await;

    // The victim of the foreign row is as it was, and nothing else was done.
    let (touched, built, live): (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM control.onboarding_steps WHERE state <> 'pending' OR attempts > 0), \
                (SELECT count(*) FROM pg_namespace WHERE nspname = $1), \
                (SELECT count(*) FROM control.jobs WHERE state <> 'dead')",
    )
    .bind(SchemaName::from(victim).to_string())
    .fetch_one(&mut admin)
    .await
    .unwrap();
    assert_eq!((touched, built, live), (0, 0, 0));

    // What is no id cannot be written in the first place.
    let malformed = "INSERT INTO control.jobs (id, kind, queue, tenant_id, payload, max_attempts, principal, request_id) \
                     VALUES (gen_random_uuid(), 'mail.send', 'default', 'acme', '{}', 5, 'p', 'r')";
    let refused = sqlx::raw_sql(malformed).execute(&mut admin).await.unwrap_err();
    assert_eq!(refused.as_database_error().unwrap().code().unwrap(), "22P02");
}
