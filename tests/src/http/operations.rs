//! What operators see, and how the processes end.

use serde_json::{Value, json};

use crate::harness::{App, Options, eventually, run};

#[tokio::test]
async fn both_processes_end_well_when_they_are_told_to() {
    let mut app = App::start().await;
    app.founder("acme").await;
    assert!(app.worker.take().unwrap().stop().await);
    assert!(app.api.stop().await);
}

#[tokio::test]
async fn metrics_name_routes_and_never_what_callers_made_up() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    for index in 0..20 {
        app.client
            .get(&format!("/scan/{index}"))
            .await
            .expect_problem(404, "not_found");
        ada.client
            .get(&format!("/api/v1/vms/vm_{index:032x}"))
            .await
            .expect_problem(404, "not_found");
    }
    let text = app.internal.get("/metrics").await.text;
    assert!(text.contains(r#"route="/api/v1/vms/{id}""#), "{text}");
    assert!(!text.contains("/scan/") && !text.contains("vm_0000"), "{text}");
    assert!(!text.contains(&ada.tenant.to_string()), "{text}");
    let worker = crate::harness::Client::new(app.worker.as_ref().unwrap().url("internal"));
    let text = worker.get("/metrics").await.text;
    assert!(
        text.contains(r#"job_run_seconds_count{kind="tenants.onboard",queue="provision",outcome="done"}"#),
        "{text}"
    );
    worker.get("/readyz").await.expect(200);
    app.client.get("/metrics").await.expect_problem(404, "not_found");
}

/// The time of an answer is that of its one hashing, with the live parameters (see iam's passwords), for everybody.
#[tokio::test]
async fn an_unknown_account_costs_as_many_hashings_as_a_known_one() {
    let app = App::start().await;
    app.register("known@example.com").await;
    let n_hashings = async || {
        let text = app.internal.get("/metrics").await.text;
        let line = text
            .lines()
            .find(|line| line.starts_with("auth_password_seconds_count"));
        line.unwrap().rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    app.register("disabled@example.com").await;
    let disable = "UPDATE control.identities SET status = 'disabled' WHERE email = 'disabled@example.com'";
    run(&mut app.db.connect("postgres").await, disable).await;
    for email in [
        "known@example.com",
        "disabled@example.com",
        "unknown@example.com",
        "no address",
    ] {
        let before = n_hashings().await;
        let attempt = json!({ "email": email, "password": "wrong password" });
        app.client
            .post("/api/v1/auth/login", &attempt)
            .await
            .expect_problem(401, "credentials_invalid");
        assert_eq!(n_hashings().await, before + 1, "{email}");
    }
}

#[tokio::test]
async fn each_request_and_each_job_is_one_line_and_no_line_tells_a_secret() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    ada.client
        .with_header("x-request-id", "my-request-1")
        .get("/api/v1/vms")
        .await
        .expect(200);
    let line = eventually("the request is logged", async || {
        let log = app.api.log();
        log.iter().find(|line| line.contains("my-request-1")).cloned()
    })
    .await;
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["message"], "http.request", "{event}");
    assert_eq!(event["tenant.id"], ada.tenant.to_string(), "{event}");
    assert_eq!(event["http.route"], "/api/v1/vms", "{event}");
    assert_eq!(event["http.response.status_code"], 200, "{event}");
    assert!(
        event["principal.id"].is_string() && event["duration_ms"].is_number(),
        "{event}"
    );

    let worker = app.worker.as_ref().unwrap();
    let line = eventually("the job is logged", async || {
        let log = worker.log();
        log.iter()
            .find(|line| line.contains("job.run") && line.contains("tenants.onboard"))
            .cloned()
    })
    .await;
    assert!(line.contains(&ada.tenant.to_string()), "{line}");
    for line in app.api.log().iter().chain(&worker.log()) {
        for secret in [crate::harness::PASSWORD, &ada.email, &ada.token, &ada.refresh_token] {
            assert!(!line.contains(secret), "a secret in {line}");
        }
    }
}

#[tokio::test]
async fn the_same_request_under_one_key_founds_one_company() {
    let app = App::with(Options {
        without_worker: true,
        ..Options::default()
    })
    .await;
    let pair = app.register("ada@example.com").await;
    let client = app.client.with_token(pair["access_token"].as_str().unwrap());
    let keyed = client.with_header("idempotency-key", "founding-1");
    let company = json!({ "name": "Acme" });
    let calls = (0..20).map(|_| keyed.post("/api/v1/tenants", &company));
    let mut answers = Vec::new();
    for answer in futures_util::future::join_all(calls).await {
        answers.push(answer.expect(202));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(
        client
            .get("/api/v1/tenants")
            .await
            .expect(200)
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let other = keyed.post("/api/v1/tenants", &json!({ "name": "Bolt" })).await;
    other.expect_problem(422, "idempotency_key_reused");
}

#[tokio::test]
async fn the_document_and_its_page_load_nothing_from_outside() {
    let app = App::with(Options {
        without_worker: true,
        ..Options::default()
    })
    .await;
    let document = app.client.get("/openapi.json").await.expect(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let page = app.client.get("/docs/").await;
    assert_eq!(page.status, 200);
    assert!(
        !page.text.contains("//cdn") && !page.text.contains("https://"),
        "{}",
        page.text
    );
    assert!(
        page.headers["content-security-policy"]
            .to_str()
            .unwrap()
            .contains("'self'")
    );
    let keys = app.client.get("/.well-known/jwks.json").await.expect(200);
    assert_eq!(keys["keys"][0]["kty"], "RSA");
    assert!(keys["keys"][0].get("d").is_none());
    for path in ["/", "/health", "/api/v1/health", "/livez", "/readyz", "/api/v1/db-ping"] {
        let answer = app.client.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
}
