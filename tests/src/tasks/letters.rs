//! Dead letters: jobs whose tenant is missing, deleted, foreign or unreadable are there to see, and never ran.

use bulkhead_kernel::ids::{JobId, TenantId};
use serde_json::{Value, json};

use super::{JOBS, busy, idle, rows, submit};
use crate::harness::{App, eventually, run};

/// A row as somebody who is wrong, or means ill, would write it.
async fn plant(app: &App, kind: &str, tenant: Option<TenantId>, payload: &Value) -> String {
    let id = JobId::new();
    sqlx::query(
        "INSERT INTO control.jobs (id, kind, queue, tenant_id, payload, max_attempts, principal, request_id) \
         VALUES ($1, $2, 'default', $3, $4, 5, 'p', 'r')",
    )
    .bind(id.uuid())
    .bind(kind)
    .bind(tenant.map(TenantId::uuid))
    .bind(payload)
    .execute(&mut app.db.connect("postgres").await)
    .await
    .unwrap();
    id.to_string()
}

/// Removes a tenant and leaves its jobs, as no purge does.
async fn forget(app: &App, tenant: TenantId) {
    let id = tenant.uuid();
    let rows = format!(
        "DELETE FROM control.memberships WHERE tenant_id = '{id}'; \
         DELETE FROM control.onboarding_steps WHERE tenant_id = '{id}'; DELETE FROM control.tenants WHERE id = '{id}'"
    );
    run(&mut app.db.connect("postgres").await, &rows).await;
}

#[tokio::test]
async fn what_belongs_to_nobody_is_dead_and_operators_see_it() {
    let (app, ada) = busy().await;
    let bob = app.founder("bolt").await;
    forget(&app, bob.tenant).await;
    let import = json!({ "resources": rows(1, 1) });
    let onboard = json!({ "tenant": ada.tenant, "owner": bulkhead_kernel::ids::IdentityId::new() });
    let planted = [
        (
            plant(&app, "resources.import", None, &import).await,
            "it belongs to another tenant",
        ),
        (
            plant(&app, "resources.import", Some(TenantId::new()), &import).await,
            "its tenant does not exist",
        ),
        (
            plant(&app, "tenants.onboard", Some(bob.tenant), &onboard).await,
            "its tenant does not exist",
        ),
        (
            plant(&app, "usage.report", Some(ada.tenant), &json!({"from": "x"})).await,
            "the payload cannot be read",
        ),
    ];
    let operator = app.operator().await;
    for (id, why) in &planted {
        let path = format!("/api/v1/platform/jobs/{id}");
        let dead = eventually("the job is dead", async || {
            let job = operator.get(&path).await.expect(200);
            (job["state"] == "failed").then_some(job)
        })
        .await;
        assert!(dead["last_error"].as_str().unwrap().starts_with(why), "{dead}");
    }
    let letters = operator.get("/api/v1/platform/jobs?state=failed").await.expect(200);
    let seen: Vec<_> = letters["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| &job["id"])
        .collect();
    for (id, _) in &planted {
        assert!(seen.contains(&&json!(id)), "{id} is not in {letters}");
    }
    assert_eq!(ada.client.get("/api/v1/resources").await.expect(200)["total"], 0);
}

#[tokio::test]
async fn a_tenant_with_a_slug_that_was_somebody_elses_gets_none_of_their_jobs() {
    let (mut app, ada) = idle().await;
    let old = submit(&ada.client, "resources.import", json!({ "resources": rows(1, 3) })).await;
    let old = old.rsplit('/').next().unwrap().to_owned();
    forget(&app, ada.tenant).await;
    app.worker = Some(app.start_worker().await);
    let email = "heir@acme.example";
    let pair = app.register(email).await;
    let heir = app.client.with_token(pair["access_token"].as_str().unwrap());
    let new = heir
        .post("/api/v1/tenants", &json!({"name": "acme", "slug": "acme"}))
        .await
        .expect(202);
    let id = new["id"].as_str().unwrap().to_owned();
    eventually("the tenant is active", async || {
        let tenant = heir.get(&format!("/api/v1/tenants/{id}")).await.expect(200);
        (tenant["status"] == "active").then_some(())
    })
    .await;
    let heir = app.enter(email, id.parse().unwrap()).await;
    assert_eq!(heir.slug, "acme");
    let operator = app.operator().await;
    let dead = eventually("the old job is dead", async || {
        let job = operator.get(&format!("/api/v1/platform/jobs/{old}")).await.expect(200);
        (job["state"] == "failed").then_some(job)
    })
    .await;
    assert_eq!(dead["tenant_id"], ada.tenant.to_string(), "{dead}");
    assert_eq!(dead["last_error"], "its tenant does not exist");
    heir.client
        .get(&format!("{JOBS}/{old}"))
        .await
        .expect_problem(404, "not_found");
    let own = heir.client.get(JOBS).await.expect(200);
    assert_eq!(own["items"].as_array().unwrap().len(), 1, "{own}");
    assert_eq!(heir.client.get("/api/v1/resources").await.expect(200)["total"], 0);
}
