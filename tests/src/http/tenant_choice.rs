//! Which tenant a request is for, and who may not know of it.

use serde_json::json;

use crate::harness::{App, eventually};

#[tokio::test]
async fn token_header_and_path_must_agree_and_foreign_tenants_do_not_exist() {
    let app = App::start().await;
    let (ada, bob) = (app.founder("acme").await, app.founder("bolt").await);

    for other in [bob.tenant.to_string(), bob.slug.clone()] {
        let crossed = ada.client.with_header("x-org-id", other);
        crossed.get("/api/v1/vms").await.expect_problem(403, "tenant_mismatch");
    }
    for own in [ada.tenant.to_string(), ada.slug.clone()] {
        ada.client
            .with_header("x-org-id", own)
            .get("/api/v1/vms")
            .await
            .expect(200);
    }

    let unbound = app.client.with_token(unbound_token(&app, &ada.email, "acme-2").await);
    unbound.get("/api/v1/vms").await.expect_problem(400, "tenant_required");
    unbound
        .get("/api/v1/whoami")
        .await
        .expect_problem(400, "tenant_required");
    unbound
        .with_header("x-org-id", &ada.slug)
        .get("/api/v1/vms")
        .await
        .expect(200);
    unbound
        .with_header("x-org-id", "No Such!")
        .get("/api/v1/vms")
        .await
        .expect_problem(400, "tenant_malformed");
    let mut hidden = Vec::new();
    for stranger in [
        bob.tenant.to_string(),
        bob.slug.clone(),
        "nobody".into(),
        bulkhead_kernel::ids::TenantId::new().to_string(),
    ] {
        let client = unbound.with_header("x-org-id", stranger);
        let mut problem = client.get("/api/v1/vms").await.expect_problem(404, "tenant_not_found");
        problem.as_object_mut().unwrap().remove("instance");
        hidden.push(problem);
    }
    hidden.dedup();
    assert_eq!(hidden.len(), 1, "a foreign tenant answers like one that does not exist");

    for path in [
        format!("/api/v1/tenants/{}", bob.tenant),
        format!("/api/v1/tenants/{}/onboarding", bob.tenant),
    ] {
        ada.client.get(&path).await.expect_problem(404, "tenant_not_found");
    }
}

#[tokio::test]
async fn a_token_bound_to_one_tenant_of_mine_does_not_read_another() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let second = ada
        .client
        .with_header("prefer", "wait=20")
        .post("/api/v1/tenants", &json!({ "name": "Second" }))
        .await;
    let path = format!("/api/v1/tenants/{}", second.expect(201)["id"].as_str().unwrap());
    ada.client.get(&path).await.expect(200);
    // A token counts its age in whole seconds, so the first ones after the founding still pass.
    eventually("a later token is refused", async || {
        let later = app.enter(&ada.email, ada.tenant).await;
        let answer = later.client.get(&path).await;
        (answer.status == 403).then(|| answer.expect_problem(403, "tenant_mismatch"))
    })
    .await;
}

/// Founds a second company for somebody, so that a plain sign-in leaves the tenant open.
async fn unbound_token(app: &App, email: &str, company: &str) -> String {
    let credentials = json!({ "email": email, "password": crate::harness::PASSWORD });
    let pair = app.client.post("/api/v1/auth/login", &credentials).await.expect(200);
    let client = app
        .client
        .with_token(pair["access_token"].as_str().unwrap())
        .with_header("prefer", "wait=20");
    client
        .post("/api/v1/tenants", &json!({ "name": company }))
        .await
        .expect(201);
    let pair = app.client.post("/api/v1/auth/login", &credentials).await.expect(200);
    pair["access_token"].as_str().unwrap().into()
}

#[tokio::test]
async fn a_foreign_machine_answers_like_one_that_does_not_exist() {
    let app = App::start().await;
    let (ada, bob) = (app.founder("acme").await, app.founder("bolt").await);
    let templates = bob.client.get("/api/v1/vm-templates").await.expect(200);
    let machine = json!({
        "name": "secret", "source_type": "template", "template_id": templates[0]["id"],
        "cpu": 2, "memory_gb": 4, "disk_gb": 40,
    });
    let vm = bob.client.post("/api/v1/vms", &machine).await.expect(202);
    let foreign = vm["id"].as_str().unwrap().to_owned();
    let missing = bulkhead_kernel::ids::VmId::new().to_string();
    for tail in ["", "/logs"] {
        let answers = [&foreign, &missing, &"vm_nonsense".to_owned()].map(|id| format!("/api/v1/vms/{id}{tail}"));
        let mut texts = Vec::new();
        for path in answers {
            let mut problem = ada.client.get(&path).await.expect_problem(404, "not_found");
            problem.as_object_mut().unwrap().remove("instance");
            texts.push(problem.to_string());
        }
        texts.dedup();
        assert_eq!(texts.len(), 1);
    }
    ada.client
        .delete(&format!("/api/v1/vms/{foreign}"))
        .await
        .expect_problem(404, "not_found");
    bob.client.get(&format!("/api/v1/vms/{foreign}")).await.expect(200);
}
