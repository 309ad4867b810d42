//! What a request asks of the database, as its own line in the log tells.

use serde_json::Value;

use crate::harness::{App, Client, eventually};

/// How often each of so many requests, one after the other, asked the database for something.
async fn asked(app: &App, who: &str, client: &Client, path: &str, n_requests: usize) -> Vec<u64> {
    let name = format!("cost-of-{who}{}-", path.replace(['/', '?', '='], "-"));
    for number in 0..n_requests {
        let client = client.with_header("x-request-id", format!("{name}{number}"));
        client.get(path).await.expect(200);
    }
    let events = eventually("all are logged", async || {
        let log = app.api.log();
        let lines = log
            .iter()
            .filter(|line| line.contains("http.request\"") && line.contains(&name));
        let events: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        (events.len() == n_requests).then_some(events)
    })
    .await;
    events
        .iter()
        .map(|event| event["db.queries"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn knowing_what_somebody_may_adds_no_round_trip_to_a_read() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let made = serde_json::json!({ "name": "ci", "scopes": ["vm:read"] });
    let key = ada.client.post("/api/v1/api-keys", &made).await.expect(201)["key"].clone();
    let program = app.client.with_header("x-api-key", key.as_str().unwrap());
    for (who, client) in [("ada", &ada.client), ("program", &program)] {
        // It says what is true now, in one message: the session, the roles and what they allow.
        assert_eq!(asked(&app, who, client, "/api/v1/whoami", 5).await, [1; 5]);
        // A read is one message, and one more in which rights are looked at that are older than a second.
        let costs = asked(&app, who, client, "/api/v1/vms?limit=1", 10).await;
        assert!(costs.iter().all(|cost| [1, 2].contains(cost)), "{costs:?}");
        assert!(costs.contains(&1), "{costs:?}");
    }
}
