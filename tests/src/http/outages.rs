//! PostgreSQL or Redis go away and come back.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{App, Options, Postgres, TestDb, eventually};

#[tokio::test]
async fn without_postgres_calls_are_refused_in_time_and_all_recovers_by_itself() {
    let postgres = Postgres::start().await;
    let app = App::with(Options {
        db: Some(TestDb::on(postgres.url()).await),
        settings: vec![("BULKHEAD__DATABASE__ACQUIRE_TIMEOUT_MS", "500".into())],
        ..Options::default()
    })
    .await;
    let ada = app.founder("acme").await;
    postgres.stop().await;
    for path in [
        "/api/v1/whoami",
        "/api/v1/vms",
        "/api/v1/tenants",
        "/api/v1/db-ping",
        "/api/v1/users/me",
    ] {
        let asked = Instant::now();
        let answer = ada.client.get(path).await;
        answer.expect_problem(503, "database_unavailable");
        assert!(answer.headers.contains_key("retry-after"), "{path}");
        // A promise of the contract, with room for a busy machine.
        assert!(
            asked.elapsed() < Duration::from_secs(5),
            "{path} took {:?}",
            asked.elapsed()
        );
    }
    let credentials = json!({ "email": ada.email, "password": crate::harness::PASSWORD });
    app.client
        .post("/api/v1/auth/login", &credentials)
        .await
        .expect_problem(503, "database_unavailable");
    for path in ["/livez", "/readyz", "/health"] {
        app.client.get(path).await.expect(200);
    }
    postgres.resume().await;
    eventually("the API recovers", async || {
        (ada.client.get("/api/v1/whoami").await.status == 200).then_some(())
    })
    .await;
    let founded = ada
        .client
        .post("/api/v1/tenants", &json!({ "name": "after the storm" }))
        .await
        .expect(202);
    let path = format!("/api/v1/tenants/{}", founded["id"].as_str().unwrap());
    eventually("the worker recovers", async || {
        (ada.client.get(&path).await.expect(200)["status"] == "active").then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_redis_nothing_fails() {
    let app = App::with(Options {
        // Port 1 on loopback: nobody listens there.
        settings: vec![("BULKHEAD__REDIS__URL", "redis://127.0.0.1:1".into())],
        ..Options::default()
    })
    .await;
    let ada = app.founder("acme").await;
    ada.client.get("/api/v1/whoami").await.expect(200);
    ada.client.get("/api/v1/vms").await.expect(200);
    app.client.get("/readyz").await.expect(200);
}
