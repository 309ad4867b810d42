//! From nothing to a running machine.

use serde_json::json;

use crate::harness::{App, Options, PASSWORD, eventually};

#[tokio::test]
async fn a_company_signs_up_and_its_first_machine_runs() {
    let app = App::start().await;
    let ada = app.founder("acme").await;

    let whoami = ada.client.get("/api/v1/whoami").await.expect(200);
    assert_eq!(whoami["tenant"]["id"], ada.tenant.to_string());
    assert_eq!(whoami["roles"], json!(["owner"]));
    assert!(whoami["permissions"].as_array().unwrap().contains(&json!("vm:create")));

    let steps = ada
        .client
        .get(&format!("/api/v1/tenants/{}/onboarding", ada.tenant))
        .await
        .expect(200);
    let names: Vec<_> = steps["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| &step["name"])
        .collect();
    assert_eq!(
        names,
        [
            "role",
            "schema",
            "migrations",
            "defaults",
            "owner",
            "welcome",
            "activate"
        ]
    );
    for step in steps["steps"].as_array().unwrap() {
        assert_eq!(step["state"], "done");
        assert!(step["finished_at"].is_string(), "{step}");
    }

    let members = ada.client.get("/api/v1/users").await.expect(200);
    assert_eq!(members["total"], 1);
    assert_eq!(members["items"][0]["email"], ada.email);
    assert_eq!(members["items"][0]["roles"], json!(["owner"]));
    let me = ada.client.get("/api/v1/users/me").await.expect(200);
    assert_eq!(me["id"], members["items"][0]["id"]);

    let templates = ada.client.get("/api/v1/vm-templates").await.expect(200);
    let template = &templates.as_array().expect("a bare array")[0];
    let machine = json!({
        "name": "web-1", "source_type": "template", "template_id": template["id"],
        "cpu": 2, "memory_gb": 4, "disk_gb": 40,
    });
    let answer = ada.client.post("/api/v1/vms", &machine).await;
    let created = answer.expect(202);
    assert_eq!(created["status"], "PROVISIONING");
    let path = answer.headers["location"].to_str().unwrap().to_owned();
    let running = eventually("the machine runs", async || {
        let vm = ada.client.get(&path).await.expect(200);
        (vm["status"] == "RUNNING" && vm["ip_address"].is_string()).then_some(vm)
    })
    .await;
    assert_eq!(running["template_name"], template["name"]);
    let list = ada.client.get("/api/v1/vms?limit=20").await.expect(200);
    assert_eq!((&list["total"], &list["items"][0]["id"]), (&json!(1), &created["id"]));
    let logs = ada.client.get(&format!("{path}/logs")).await.expect(200);
    assert!(
        logs["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|line| line["message"].is_string())
    );

    ada.client.delete(&path).await.expect(202);
    eventually("the machine is gone", async || {
        (ada.client.get(&path).await.status == 404).then_some(())
    })
    .await;
    assert_eq!(ada.client.get("/api/v1/vms").await.expect(200)["total"], 0);
}

#[tokio::test]
async fn a_caller_who_can_wait_gets_the_tenant_ready() {
    let app = App::start().await;
    let pair = app.register("ada@example.com").await;
    let client = app.client.with_token(pair["access_token"].as_str().unwrap());
    let answer = client
        .with_header("prefer", "wait=20")
        .post("/api/v1/orgs", &json!({ "name": "Acme" }))
        .await;
    let tenant = answer.expect(201);
    assert_eq!(tenant["status"], "active");
    assert_eq!(tenant["slug"], "acme");
    let id = tenant["id"].as_str().unwrap();
    let switched = json!({ "refresh_token": pair["refresh_token"], "org_id": id });
    let switched = app.client.post("/api/v1/auth/refresh", &switched).await.expect(200);
    let inside = app.client.with_token(switched["access_token"].as_str().unwrap());
    assert_eq!(inside.get("/api/v1/whoami").await.expect(200)["tenant"]["id"], id);
    let again = client
        .post("/api/v1/tenants", &json!({ "name": "Other", "slug": "acme" }))
        .await;
    again.expect_problem(409, "slug_taken");
    let namesake = client
        .post("/api/v1/tenants", &json!({ "name": "ACME" }))
        .await
        .expect(202);
    assert_ne!(namesake["slug"], "acme");
}

#[tokio::test]
async fn signing_out_ends_the_session_within_a_second() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    ada.client.post("/api/v1/auth/logout", &json!({})).await.expect(204);
    eventually("the access token is refused", async || {
        (ada.client.get("/api/v1/users").await.status == 401).then_some(())
    })
    .await;
    ada.client
        .get("/api/v1/whoami")
        .await
        .expect_problem(401, "session_ended");
    let refresh = json!({ "refresh_token": ada.refresh_token });
    app.client
        .post("/api/v1/auth/refresh", &refresh)
        .await
        .expect_problem(401, "refresh_token_invalid");
    let form = format!("username={}&password={}", ada.email, PASSWORD.replace(' ', "+"));
    let form = form.replace('@', "%40");
    let answer = app
        .client
        .send(
            http::Method::POST,
            "/api/v1/auth/token",
            "application/x-www-form-urlencoded",
            form,
        )
        .await;
    assert_eq!(answer.expect(200)["token_type"], "bearer");
}

#[tokio::test]
async fn onboarding_can_be_watched_and_taken_up_again() {
    let mut app = App::with(Options {
        without_worker: true,
        ..Options::default()
    })
    .await;
    let pair = app.register("ada@example.com").await;
    let client = app.client.with_token(pair["access_token"].as_str().unwrap());
    let created = client
        .post("/api/v1/tenants", &json!({ "name": "Acme" }))
        .await
        .expect(202);
    let path = format!("/api/v1/tenants/{}/onboarding", created["id"].as_str().unwrap());
    let watching = client.with_header("accept", "text/event-stream");
    let (stream, worker) = tokio::join!(watching.get(&path), app.start_worker());
    app.worker = Some(worker);
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    let told = |text: &str| text.matches("event: step").count();
    assert_eq!(told(&stream.text), 7, "{}", stream.text);
    assert!(
        stream.text.trim_end().ends_with("event: status\ndata: active"),
        "{}",
        stream.text
    );
    let again = watching.with_header("last-event-id", "5").get(&path).await;
    assert_eq!(told(&again.text), 2, "{}", again.text);
    assert!(again.text.starts_with("id: 6\n"), "{}", again.text);
}
