//! Everything wrong gets the right 4xx problem, and nothing is written.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{App, PASSWORD};

const JSON: &str = "application/json";

/// How many rows there are that a refused request could have left behind.
async fn rows(app: &App) -> i64 {
    let mut admin = app.db.connect("postgres").await;
    sqlx::query_scalar!(
        r#"
        SELECT (SELECT count(*) FROM control.identities) + (SELECT count(*) FROM control.tenants)
                   + (SELECT count(*) FROM control.jobs) + (SELECT count(*) FROM control.vm_work) AS "count!"
        "#
    )
    .fetch_one(&mut admin)
    .await
    .unwrap()
}

#[tokio::test]
async fn paths_methods_and_media_types() {
    let app = App::start().await;
    app.client.get("/api/v1/nothing").await.expect_problem(404, "not_found");
    app.client.get("/../etc/passwd").await.expect_problem(404, "not_found");
    let answer = app.client.delete("/api/v1/auth/login").await;
    answer.expect_problem(405, "method_not_allowed");
    assert!(answer.headers["allow"].to_str().unwrap().contains("POST"));
    let login = "/api/v1/auth/login";
    app.client
        .send(Method::POST, login, "text/plain", "{}")
        .await
        .expect_problem(415, "unsupported_media_type");
    app.client
        .send(Method::POST, login, "", "{}")
        .await
        .expect_problem(415, "unsupported_media_type");
    app.client
        .send(Method::POST, login, JSON, "{")
        .await
        .expect_problem(400, "malformed_json");
    app.client
        .send(Method::POST, login, JSON, "")
        .await
        .expect_problem(400, "malformed_json");
    app.client
        .send(Method::POST, login, JSON, vec![0xff_u8, 0xfe])
        .await
        .expect_problem(400, "malformed_json");
    let nested = "[".repeat(100_000);
    app.client
        .send(Method::POST, login, JSON, nested)
        .await
        .expect_problem(400, "malformed_json");
    let huge = format!(r#"{{"email":"{}"}}"#, "a".repeat(2 << 20));
    app.client
        .send(Method::POST, login, JSON, huge)
        .await
        .expect_problem(413, "body_too_large");
}

#[tokio::test]
async fn bodies_that_break_a_rule_name_the_place_and_write_nothing() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let before = rows(&app).await;
    let person = |changed: &str, value: Value| {
        let mut person =
            json!({ "email": "eve@example.com", "password": PASSWORD, "first_name": "Eve", "last_name": "X" });
        person[changed] = value;
        person
    };
    let machine = |changed: &str, value: Value| {
        let mut machine = json!({
            "name": "web", "source_type": "template", "template_id": "tpl_00000000000000000000000000000000",
            "cpu": 1, "memory_gb": 1, "disk_gb": 10,
        });
        machine[changed] = value;
        machine
    };
    let long = "x".repeat(900_000);
    let cases = [
        ("/api/v1/auth/register", person("email", json!("nonsense")), "/email"),
        ("/api/v1/auth/register", person("email", json!(7)), "/email"),
        ("/api/v1/auth/register", person("password", json!("short")), "/password"),
        (
            "/api/v1/auth/register",
            person("password", json!("password")),
            "/password",
        ),
        (
            "/api/v1/auth/register",
            person("password", json!("a\u{0}bcdefghijkl")),
            "/password",
        ),
        ("/api/v1/auth/register", person("first_name", json!("")), "/first_name"),
        (
            "/api/v1/auth/register",
            person("first_name", json!("a\u{0}b")),
            "/first_name",
        ),
        ("/api/v1/auth/register", person("last_name", json!(long)), "/last_name"),
        ("/api/v1/auth/register", person("role", json!("owner")), "/role"),
        ("/api/v1/tenants", json!({ "name": "a\u{0}b" }), "/name"),
        ("/api/v1/tenants", json!({ "name": long }), "/name"),
        ("/api/v1/tenants", json!({ "name": "x", "slug": "No Slug" }), "/slug"),
        ("/api/v1/tenants", json!({ "name": ["x"] }), "/name"),
        ("/api/v1/tenants", json!({ "name": "x", "status": "active" }), "/status"),
        ("/api/v1/vms", machine("cpu", json!(0)), "/cpu"),
        ("/api/v1/vms", machine("cpu", json!(-1)), "/cpu"),
        ("/api/v1/vms", machine("cpu", json!(1.5)), "/cpu"),
        (
            "/api/v1/vms",
            machine("memory_gb", json!(1_000_000_000_000_u64)),
            "/memory_gb",
        ),
        ("/api/v1/vms", machine("name", json!("a\u{0}b")), "/name"),
        ("/api/v1/vms", machine("name", json!(long)), "/name"),
        ("/api/v1/vms", machine("source_type", json!("floppy")), "/source_type"),
    ];
    for (path, body, pointer) in cases {
        let problem = ada.client.post(path, &body).await.expect_problem(422, "validation");
        let errors = problem["errors"].as_array().unwrap();
        assert!(
            errors.iter().any(|error| error["pointer"] == pointer),
            "{pointer} is not in {problem}"
        );
    }
    for unknown in ["nonsense", "tpl_00000000000000000000000000000000"] {
        let answer = ada
            .client
            .post("/api/v1/vms", &machine("template_id", json!(unknown)))
            .await;
        answer.expect_problem(422, "template_unavailable");
    }
    ada.client
        .post("/api/v1/vms", &machine("cpu", json!(2)))
        .await
        .expect_problem(422, "template_unavailable");
    ada.client
        .post("/api/v1/vms", &json!({ "name": "missing the rest" }))
        .await
        .expect_problem(422, "validation");
    for query in [
        "page=0",
        "limit=0",
        "limit=101",
        "limit=x",
        "page=99999999999999999999",
        "search=%00",
    ] {
        let answer = ada.client.get(&format!("/api/v1/vms?{query}")).await;
        answer.expect_problem(422, "validation");
    }
    assert_eq!(rows(&app).await, before);
}

#[tokio::test]
async fn tokens_that_are_not_ours_open_nothing() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let (head, rest) = ada.token.split_once('.').unwrap();
    let (claims, signature) = rest.split_once('.').unwrap();
    let forged = [
        String::new(),
        "nonsense".into(),
        format!("{head}.{claims}."),
        format!("{head}.{claims}.{}", signature.chars().rev().collect::<String>()),
        format!("{head}.{}.{signature}", claims.chars().rev().collect::<String>()),
        format!("eyJhbGciOiJub25lIn0.{claims}."),
        "x".repeat(9_000),
    ];
    for token in forged {
        let answer = app.client.with_token(&token).get("/api/v1/whoami").await;
        assert_eq!(answer.status, 401, "{token}: {}", answer.text);
        assert!(answer.headers.contains_key("www-authenticate"));
    }
    app.client
        .get("/api/v1/whoami")
        .await
        .expect_problem(401, "unauthenticated");
    let basic = app.client.with_header("authorization", "Basic YTpi");
    assert_eq!(basic.get("/api/v1/whoami").await.status, 401);
}

#[tokio::test]
async fn an_expired_token_is_told_apart() {
    let app = App::with(crate::harness::Options {
        settings: vec![("BULKHEAD__AUTH__ACCESS_TOKEN_SECS", "1".into())],
        ..Default::default()
    })
    .await;
    let pair = app.register("ada@example.com").await;
    let client = app.client.with_token(pair["access_token"].as_str().unwrap());
    crate::harness::eventually("the token expires", async || {
        let answer = client.get("/api/v1/users/me").await;
        (answer.status == 401).then(|| answer.expect_problem(401, "token_expired"))
    })
    .await;
}

#[tokio::test]
async fn known_and_unknown_accounts_answer_alike() {
    let app = App::with(crate::harness::Options {
        without_worker: true,
        ..Default::default()
    })
    .await;
    app.register("ada@example.com").await;
    let login = |email: &str, password: &str| json!({ "email": email, "password": password });
    let mut answers = Vec::new();
    for (email, password) in [
        ("ada@example.com", "wrong password"),
        ("nobody@example.com", PASSWORD),
        ("nonsense", PASSWORD),
    ] {
        let answer = app.client.post("/api/v1/auth/login", &login(email, password)).await;
        let mut problem = answer.expect_problem(401, "credentials_invalid");
        problem.as_object_mut().unwrap().remove("instance");
        answers.push(problem);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
    let person = json!({ "email": "ada@example.com", "password": PASSWORD, "first_name": "Eve", "last_name": "X" });
    let known = app.client.post("/api/v1/auth/register", &person).await.expect(201);
    assert_eq!(known["first_name"], "Eve");
    assert!(known.get("id").is_none());
}
