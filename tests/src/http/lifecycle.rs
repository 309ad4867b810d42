//! Tenants closed, opened, deleted, brought back and renamed, as everybody concerned sees it.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, App, Client, Founder, eventually, server::Server};

async fn patch(client: &Client, path: &str, body: &Value) -> Answer {
    client
        .send(Method::PATCH, path, "application/json", body.to_string())
        .await
}

fn path(founder: &Founder, tail: &str) -> String {
    format!("/api/v1/tenants/{}{tail}", founder.tenant)
}

async fn suspend(operator: &Client, founder: &Founder, mode: &str) -> Value {
    let wanted = json!({ "mode": mode, "reason": "invoice 4711 is unpaid" });
    operator.post(&path(founder, "/suspend"), &wanted).await.expect(200)
}

#[tokio::test]
async fn a_suspension_bites_on_every_replica_and_a_resume_lets_everybody_in_again() {
    let app = App::start().await;
    let second = Server::start("bulkhead-api", &app.env).await;
    let (ada, bob, operator) = (
        app.founder("acme").await,
        app.founder("bolt").await,
        app.operator().await,
    );
    let replicas = [
        ada.client.clone(),
        Client::new(second.url("public")).with_token(&ada.token),
    ];
    for replica in &replicas {
        replica.get("/api/v1/vms").await.expect(200);
        replica.get("/api/v1/whoami").await.expect(200);
    }
    assert_eq!(suspend(&operator, &ada, "full").await["status"], "suspended");
    for replica in &replicas {
        // The database is asked in every transaction, whatever is still believed of the caller's rights.
        replica
            .get("/api/v1/vms")
            .await
            .expect_problem(403, "tenant_not_active");
        eventually("nothing is answered from memory", async || {
            (replica.get("/api/v1/whoami").await.status == 403).then_some(())
        })
        .await;
    }
    bob.client.get("/api/v1/vms").await.expect(200);

    assert_eq!(suspend(&operator, &ada, "read_only").await["suspension"], "read_only");
    let wanted = machine(&bob).await;
    for replica in &replicas {
        replica.get("/api/v1/vms").await.expect(200);
        replica.get("/api/v1/users").await.expect(200);
        let refused = replica.post("/api/v1/vms", &wanted).await;
        refused.expect_problem(403, "tenant_read_only");
        let renamed = patch(replica, &path(&ada, ""), &json!({ "name": "Other" })).await;
        renamed.expect_problem(403, "tenant_read_only");
    }
    // Who has to sign in again to read may do so.
    app.enter(&ada.email, ada.tenant).await;

    let resumed = operator.post(&path(&ada, "/resume"), &json!({})).await.expect(200);
    assert_eq!(
        (&resumed["status"], resumed.get("suspension")),
        (&json!("active"), None)
    );
    for replica in &replicas {
        replica.get("/api/v1/vms").await.expect(200);
    }
    ada.client.post("/api/v1/vms", &wanted).await.expect(202);
}

async fn machine(founder: &Founder) -> Value {
    let templates = founder.client.get("/api/v1/vm-templates").await.expect(200);
    json!({
        "name": "web", "source_type": "template", "template_id": templates[0]["id"],
        "cpu": 2, "memory_gb": 4, "disk_gb": 40,
    })
}

#[tokio::test]
async fn machines_of_a_closed_tenant_are_left_as_they_are_and_go_on_when_it_opens() {
    let app = App::start().await;
    let (ada, operator) = (app.founder("acme").await, app.operator().await);
    let mut admin = app.db.connect("postgres").await;
    let created = ada.client.post("/api/v1/vms", &machine(&ada).await).await.expect(202);
    let vm = format!("/api/v1/vms/{}", created["id"].as_str().unwrap());
    suspend(&operator, &ada, "full").await;
    let parked = sqlx::query_scalar!(
        r#"SELECT is_parked FROM control.vm_work WHERE tenant_id = $1"#,
        ada.tenant.uuid()
    )
    .fetch_one(&mut admin)
    .await
    .unwrap();
    assert!(parked);
    let other = app.founder("bolt").await;
    let created = other
        .client
        .post("/api/v1/vms", &machine(&other).await)
        .await
        .expect(202);
    let others = format!("/api/v1/vms/{}", created["id"].as_str().unwrap());
    for (founder, vm) in [(&other, &others), (&ada, &vm)] {
        operator
            .post(&path(&ada, "/resume"), &json!({ "reason": "paid" }))
            .await
            .expect(200);
        eventually("the machine runs", async || {
            (founder.client.get(vm).await.expect(200)["status"] == "RUNNING").then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn jobs_wait_for_a_suspended_tenant_and_go_on_with_the_resume() {
    let app = App::start().await;
    let (ada, operator) = (app.founder("acme").await, app.operator().await);
    suspend(&operator, &ada, "full").await;
    let mut admin = app.db.connect("postgres").await;
    let job = bulkhead_kernel::ids::JobId::new();
    sqlx::query!(
        r#"
        INSERT INTO control.jobs (id, kind, queue, tenant_id, payload, max_attempts, principal, request_id)
        VALUES ($1, 'vms.reconcile', 'default', $2, '{"vm_id": "vm_00000000000000000000000000000000"}', 3, 'nobody', 'none')
        "#,
        job.uuid(),
        ada.tenant.uuid(),
    )
    .execute(&mut admin)
    .await
    .unwrap();
    // A whole onboarding goes through the same workers meanwhile.
    app.founder("bolt").await;
    let state = async |admin: &mut sqlx::PgConnection| {
        sqlx::query_scalar!("SELECT state FROM control.jobs WHERE id = $1", job.uuid())
            .fetch_one(admin)
            .await
            .unwrap()
    };
    assert_eq!(state(&mut admin).await, "queued");
    operator.post(&path(&ada, "/resume"), &json!({})).await.expect(200);
    eventually("the job is done", async || {
        (state(&mut admin).await == "done").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_deletion_closes_at_once_and_a_restore_brings_back_exactly_what_was() {
    let app = App::start().await;
    let (ada, operator) = (app.founder("acme").await, app.operator().await);
    let dry = ada.client.delete(&path(&ada, "?dry_run=true")).await.expect(200);
    assert_eq!((&dry["members"], &dry["vms"]), (&json!(1), &json!(0)), "{dry}");
    let rows = |list: &Value, table: &str| {
        let found = list
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["table"] == table)
            .cloned();
        found.unwrap_or_else(|| panic!("no {table} in {list}"))["rows"].clone()
    };
    assert_eq!(rows(&dry["tables"], "roles"), 4);
    assert_eq!(rows(&dry["shared_tables"], "memberships"), 1);
    assert_eq!(rows(&dry["shared_tables"], "onboarding_steps"), 7);
    assert!(dry["bytes"].as_i64().unwrap() > 0);
    ada.client.get("/api/v1/vms").await.expect(200);

    let deleted = ada.client.delete(&path(&ada, "?reason=moving%20on")).await.expect(202);
    assert_eq!(deleted["status"], "deleting");
    assert!(deleted["purge_at"].as_str().unwrap() > deleted["created_at"].as_str().unwrap());
    ada.client
        .get("/api/v1/vms")
        .await
        .expect_problem(403, "tenant_not_active");
    let shown = ada.client.get(&path(&ada, "")).await.expect(200);
    assert_eq!(shown["purge_at"], deleted["purge_at"], "its members see when it goes");
    for (tail, body) in [
        ("/suspend", json!({ "mode": "full", "reason": "x" })),
        ("/resume", json!({})),
    ] {
        let refused = operator.post(&path(&ada, tail), &body).await;
        refused.expect_problem(409, "tenant_state_conflict");
    }
    let again = operator.delete(&path(&ada, "")).await.expect(202);
    assert_eq!(again["purge_at"], deleted["purge_at"], "the first grace goes on");
    let restored = operator.post(&path(&ada, "/restore"), &json!({})).await.expect(200);
    assert_eq!(
        (&restored["status"], restored.get("purge_at")),
        (&json!("active"), None)
    );
    ada.client.get("/api/v1/vms").await.expect(200);

    suspend(&operator, &ada, "read_only").await;
    ada.client.delete(&path(&ada, "")).await.expect(202);
    let restored = operator.post(&path(&ada, "/restore"), &json!({})).await.expect(200);
    assert_eq!(
        (&restored["status"], &restored["suspension"]),
        (&json!("suspended"), &json!("read_only"))
    );
    ada.client.get("/api/v1/vms").await.expect(200);
    let refused = operator.post(&path(&ada, "/restore"), &json!({})).await;
    refused.expect_problem(409, "tenant_state_conflict");
}

#[tokio::test]
async fn only_operators_close_and_open_and_strangers_learn_nothing() {
    let app = App::start().await;
    let (ada, bob, operator) = (
        app.founder("acme").await,
        app.founder("bolt").await,
        app.operator().await,
    );
    let nobody = bulkhead_kernel::ids::TenantId::new();
    let suspend = json!({ "mode": "full", "reason": "x" });
    for (tail, body) in [("/suspend", suspend), ("/resume", json!({})), ("/restore", json!({}))] {
        ada.client
            .post(&path(&ada, tail), &body)
            .await
            .expect_problem(403, "forbidden");
        app.client
            .post(&path(&ada, tail), &body)
            .await
            .expect_problem(401, "unauthenticated");
        let unknown = operator.post(&format!("/api/v1/tenants/{nobody}{tail}"), &body).await;
        unknown.expect_problem(404, "tenant_not_found");
    }
    for bad in [
        json!({ "mode": "half", "reason": "x" }),
        json!({ "mode": "full", "reason": " " }),
        json!({ "mode": "full" }),
    ] {
        operator
            .post(&path(&ada, "/suspend"), &bad)
            .await
            .expect_problem(422, "validation");
    }
    for refused in [
        bob.client.delete(&path(&ada, "")).await,
        bob.client.delete(&path(&ada, "?dry_run=true")).await,
        patch(&bob.client, &path(&ada, ""), &json!({ "name": "Mine" })).await,
    ] {
        refused.expect_problem(404, "tenant_not_found");
    }
    for platform in [
        "receipts",
        "receipts/rcp_00000000000000000000000000000000",
        "tenant-schema",
    ] {
        let platform = format!("/api/v1/platform/{platform}");
        ada.client.get(&platform).await.expect_problem(403, "forbidden");
        app.client.get(&platform).await.expect_problem(401, "unauthenticated");
    }
    let mut inside = app.db.look_into(ada.tenant).await;
    let demote = "UPDATE member_roles SET role_id = (SELECT id FROM roles WHERE name = 'admin')";
    crate::harness::run(&mut inside, demote).await;
    ada.client
        .delete(&path(&ada, ""))
        .await
        .expect_problem(403, "forbidden");
    operator
        .delete(&format!("/api/v1/orgs/{}?reason=gone", ada.tenant))
        .await
        .expect(202);
}

#[tokio::test]
async fn a_tenant_is_renamed_at_once_and_its_old_slug_is_free_at_once() {
    let app = App::start().await;
    let (ada, bob) = (app.founder("acme").await, app.founder("bolt").await);
    let renamed = patch(
        &ada.client,
        &path(&ada, ""),
        &json!({ "name": "Acme Ltd", "slug": "acme-ltd" }),
    )
    .await;
    let renamed = renamed.expect(200);
    assert_eq!(
        (&renamed["name"], &renamed["slug"]),
        (&json!("Acme Ltd"), &json!("acme-ltd"))
    );
    let taken = patch(&bob.client, &path(&bob, ""), &json!({ "slug": "acme-ltd" })).await;
    taken.expect_problem(409, "slug_taken");
    patch(&bob.client, &path(&bob, ""), &json!({ "slug": "acme" }))
        .await
        .expect(200);
    let as_acme = |client: &Client| client.with_header("x-org-id", "acme");
    as_acme(&ada.client)
        .get("/api/v1/vms")
        .await
        .expect_problem(403, "tenant_mismatch");
    as_acme(&bob.client).get("/api/v1/vms").await.expect(200);
    let wrong = patch(
        &ada.client,
        &path(&ada, ""),
        &json!({ "name": "", "slug": "No", "settings": {} }),
    )
    .await;
    let pointers = wrong.expect_problem(422, "validation")["errors"].clone();
    assert_eq!(
        (&pointers[0]["pointer"], &pointers[1]["pointer"]),
        (&json!("/name"), &json!("/slug"))
    );
}

#[tokio::test]
async fn settings_and_custom_fields_are_merged_and_have_to_fit_the_platforms_schema() {
    let app = App::start().await;
    let (ada, operator) = (app.founder("acme").await, app.operator().await);
    let change = async |body: Value| patch(&ada.client, &path(&ada, ""), &body).await;
    let first = json!({ "settings": { "locale": "de", "theme": { "dark": true } }, "custom_fields": { "plan": 7 } });
    change(first).await.expect(200);
    let merged = change(json!({ "settings": { "theme": { "dark": null, "wide": 1 } } }))
        .await
        .expect(200);
    assert_eq!(merged["settings"], json!({ "locale": "de", "theme": { "wide": 1 } }));

    let schema = json!({
        "settings": { "properties": { "locale": { "type": "string", "maxLength": 2 } } },
        "custom_fields": { "properties": { "plan": { "enum": ["free", "gold"] } }, "additionalProperties": false },
    });
    let put = async |body: &Value| {
        operator
            .send(
                Method::PUT,
                "/api/v1/platform/tenant-schema",
                "application/json",
                body.to_string(),
            )
            .await
    };
    put(&schema).await.expect(200);
    assert_eq!(operator.get("/api/v1/platform/tenant-schema").await.expect(200), schema);
    let unknown = json!({ "settings": { "pattern": "^a" }, "custom_fields": {} });
    let refused = put(&unknown).await.expect_problem(422, "validation");
    assert_eq!(refused["errors"][0]["pointer"], "/settings/pattern");

    // What was written before the schema stands in nobody's way until it is touched.
    change(json!({ "name": "Acme Ltd", "settings": { "locale": "fr" } }))
        .await
        .expect(200);
    for (body, pointer) in [
        (json!({ "settings": { "locale": "french" } }), "/settings/locale"),
        (
            json!({ "custom_fields": { "more": 1, "plan": "gold" } }),
            "/custom_fields/more",
        ),
        (json!({ "custom_fields": {} }), "/custom_fields/plan"),
        (json!({ "settings": { "note": "a\u{0}b" } }), "/settings/note"),
        (json!({ "settings": { "note": "x".repeat(17_000) } }), "/settings"),
    ] {
        let refused = change(body).await.expect_problem(422, "validation");
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused}");
    }
    // Short on the wire, long as the database writes it.
    let numbers: Vec<f64> = vec![1e300; 2_000];
    change(json!({ "settings": { "n": numbers } }))
        .await
        .expect_problem(422, "validation");
    let shown = ada.client.get(&path(&ada, "")).await.expect(200);
    assert_eq!(
        (&shown["settings"]["locale"], &shown["custom_fields"]),
        (&json!("fr"), &json!({ "plan": 7 }))
    );
}
