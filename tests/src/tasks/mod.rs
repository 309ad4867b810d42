//! Work that tenants submit, from the request to what it came to, and jobs as tenants and operators see them.

mod api;
mod events;
mod export;
mod import;
mod letters;
mod platform;
mod report;

use bulkhead_kernel::clock::Clock;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::{App, Client, Founder, Options, PASSWORD, eventually};

const JOBS: &str = "/api/v1/jobs";

/// A product in which nothing is done until the test starts a worker.
async fn idle() -> (App, Founder) {
    let mut app = App::start().await;
    let ada = app.founder("acme").await;
    app.worker = None;
    (app, ada)
}

/// The same with a worker.
async fn busy() -> (App, Founder) {
    let app = App::with(Options::default()).await;
    let ada = app.founder("acme").await;
    (app, ada)
}

/// Submits a job; gives its path.
async fn submit(client: &Client, kind: &str, params: Value) -> String {
    let answer = client.post(JOBS, &json!({ "type": kind, "params": params })).await;
    let job = answer.expect(202);
    let path = format!("{JOBS}/{}", job["id"].as_str().unwrap());
    assert_eq!(answer.headers["location"], path.as_str());
    path
}

/// So many days from now, to the second, as it goes over the wire.
fn in_days(days: i64) -> String {
    let then = Clock::system().now() + TimeDelta::days(days);
    then.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Waits until the job is in this state; gives it as it is then.
async fn reaches(client: &Client, path: &str, state: &str) -> Value {
    eventually(&format!("{path} is {state}"), async || {
        let job = client.get(path).await.expect(200);
        assert!(
            job["state"] == state || job["finished_at"].is_null(),
            "it ended otherwise: {job}"
        );
        (job["state"] == state).then_some(job)
    })
    .await
}

/// Somebody with these permissions alone, signed in.
async fn with(app: &App, ada: &Founder, name: &str, permissions: &[&str]) -> Client {
    app.client.with_token(token_with(app, ada, name, permissions).await)
}

/// Their access token.
async fn token_with(app: &App, ada: &Founder, name: &str, permissions: &[&str]) -> String {
    let role = json!({ "name": name, "permission_ids": permissions });
    let role = ada.client.post("/api/v1/roles", &role).await.expect(201);
    let email = format!("{name}@acme.example");
    app.register(&email).await;
    let new = json!({ "email": email, "first_name": "A", "last_name": "B", "role_ids": [role["id"]] });
    ada.client.post("/api/v1/users", &new).await.expect(201);
    let login = json!({ "email": email, "password": PASSWORD, "org_id": ada.tenant });
    let pair = app.client.post("/api/v1/auth/login", &login).await.expect(200);
    pair["access_token"].as_str().unwrap().to_owned()
}

/// Resources that can be made, numbered from `first` on.
fn rows(first: usize, n: usize) -> Vec<Value> {
    let row = |n| json!({ "type": "disk", "name": format!("disk {n}"), "attributes": { "n": n } });
    (first..first + n).map(row).collect()
}

/// The entries of the audit log of this action.
async fn audit(client: &Client, action: &str) -> Vec<Value> {
    let log = client
        .get(&format!("/api/v1/audit-log?limit=100&action={action}"))
        .await
        .expect(200);
    log["items"].as_array().unwrap().clone()
}
