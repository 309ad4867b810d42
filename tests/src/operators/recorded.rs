//! Everything operators do is in the platform's log: every call of the document that is theirs and changes something.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde_json::{Value, json};

use crate::harness::{App, Client, Options, TestDb, eventually, run};

const LOG: &str = "/api/v1/platform/audit-log";

/// Calls that are not for operators alone, and theirs as well.
const SHARED: [&str; 2] = ["DELETE /api/v1/tenants/{id}", "POST /api/v1/tenants/{id}/export"];

/// The operators' calls of the document that change something.
fn changing(document: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::from(SHARED.map(str::to_owned));
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if operation["x-permission"] == "operator" && method != "get" {
                found.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    found
}

/// Makes the calls and keeps what the log says of each.
struct Walk {
    operator: Client,
    recorded: BTreeMap<String, Vec<Value>>,
}

impl Walk {
    /// A call that has to succeed; `route` is its name in the document, its places filled by `ids` in their order.
    async fn call(&mut self, route: &str, ids: &[&str], content_type: &str, body: impl Into<bytes::Bytes>) -> Value {
        let (method, path) = route.split_once(' ').unwrap();
        let (mut path, mut ids) = (path.to_owned(), ids.iter());
        while let Some((before, rest)) = path.clone().split_once('{') {
            let (_, after) = rest.split_once('}').unwrap();
            path = format!("{before}{}{after}", ids.next().unwrap());
        }
        let request = format!("walk-{}", self.recorded.len());
        let client = self.operator.with_header("x-request-id", &request);
        let method = method.parse::<Method>().unwrap();
        let answer = client.send(method, &path, content_type, body).await;
        assert!(answer.status.is_success(), "{route}: {} {}", answer.status, answer.text);
        let log = self.operator.get(&format!("{LOG}?limit=5")).await.expect(200);
        let own = log["items"].as_array().unwrap().iter();
        let own: Vec<_> = own
            .filter(|entry| entry["context"]["request_id"] == request)
            .cloned()
            .collect();
        self.recorded.insert(route.to_owned(), own);
        if answer.text.is_empty() {
            Value::Null
        } else {
            answer.json()
        }
    }

    async fn json(&mut self, route: &str, ids: &[&str], body: Value) -> Value {
        self.call(route, ids, "application/json", body.to_string()).await
    }
}

/// A product that knows a second cluster, where nothing ever arrives.
async fn app() -> App {
    let there = TestDb::new().await;
    let settings = [
        ("BULKHEAD__DATABASE__CLUSTERS__B__OWNER_URL", there.url("postgres")),
        (
            "BULKHEAD__DATABASE__CLUSTERS__B__CONTROL_URL",
            there.url("bulkhead_control"),
        ),
        (
            "BULKHEAD__DATABASE__CLUSTERS__B__TENANT_URL",
            there.url("bulkhead_tenant"),
        ),
        (
            "BULKHEAD__DATABASE__CLUSTERS__B__DIRECT_URL",
            there.url("bulkhead_control"),
        ),
    ];
    App::with(Options {
        settings: settings.into(),
        ..Options::default()
    })
    .await
}

#[tokio::test]
async fn every_call_of_operators_that_changes_something_is_in_the_platforms_log() {
    let mut app = app().await;
    let (ada, bob) = (app.founder("acme").await, app.founder("bolt").await);
    let (operator, _) = app.operator_with("root@platform.example").await;
    let me = super::id_of(&operator).await;
    let mut walk = Walk {
        operator: operator.clone(),
        recorded: BTreeMap::new(),
    };
    let acme = ada.tenant.to_string();
    let export = walk.json("POST /api/v1/tenants/{id}/export", &[&acme], json!({})).await;
    let export = format!("/api/v1/tenants/{acme}/exports/{}", export["id"].as_str().unwrap());
    eventually("the archive is written", async || {
        (operator.get(&export).await.expect(200)["status"] == "ready").then_some(())
    })
    .await;
    let archive = operator.get(&format!("{export}/download")).await.text;
    let taken = operator
        .get(&format!("{LOG}?action=tenant.download_export"))
        .await
        .expect(200);
    assert_eq!(
        (&taken["total"], &taken["items"][0]["actor"]["id"]),
        (&json!(1), &json!(me))
    );
    // From here on nobody carries out what is asked for, so that everything stays as it is asked for.
    app.worker = None;
    let copy = walk
        .call(
            "POST /api/v1/tenants/import?slug=copy",
            &[],
            "application/x-tar",
            archive,
        )
        .await;
    let job = copy["job_id"].as_str().unwrap();
    for verb in ["cancel", "retry"] {
        let route = format!("POST /api/v1/platform/jobs/{{id}}/{verb}");
        walk.json(&route, &[job], json!({})).await;
    }
    walk.json("POST /api/v1/platform/jobs/retry", &[], json!({"type": "mail.send"}))
        .await;
    let import = walk.recorded.remove("POST /api/v1/tenants/import?slug=copy").unwrap();
    walk.recorded.insert("POST /api/v1/tenants/import".into(), import);

    walk.json("POST /api/v1/platform/doctor/isolation", &[], json!({"rounds": 9}))
        .await;
    let run_of = walk.json("POST /api/v1/platform/migrations", &[], json!({})).await;
    let open = "UPDATE control.migration_runs SET state = 'running', finished_at = NULL";
    run(&mut app.db.connect("postgres").await, open).await;
    let migration = run_of["id"].as_str().unwrap();
    for verb in ["pause", "resume", "retry"] {
        walk.json(
            &format!("POST /api/v1/platform/migrations/{{id}}/{verb}"),
            &[migration],
            json!({}),
        )
        .await;
    }
    for verb in ["pause", "resume", "run-now"] {
        let route = format!("POST /api/v1/platform/schedules/{{name}}/{verb}");
        walk.json(&route, &["jobs.prune"], json!({})).await;
    }
    let schema = json!({"settings": {}, "custom_fields": {"properties": {"plan": {"type": "string"}}}});
    walk.json("PUT /api/v1/platform/tenant-schema", &[], schema).await;

    let new = json!({"email": "grace@example.com", "first_name": "Grace", "last_name": "Hopper"});
    let grace = walk.json("POST /api/v1/platform/operators", &[], new).await;
    for verb in ["deactivate", "reactivate"] {
        let route = format!("POST /api/v1/platform/operators/{{id}}/{verb}");
        walk.json(&route, &[grace["id"].as_str().unwrap()], json!({})).await;
    }
    let access = "POST /api/v1/platform/tenants/{id}/support-access";
    let access = walk
        .json(access, &[&acme], json!({"reason": "a look at what is wrong"}))
        .await;
    let end = "DELETE /api/v1/platform/tenants/{id}/support-access/{access}";
    walk.call(end, &[&acme, access["id"].as_str().unwrap()], "", "").await;

    let why = json!({"mode": "full", "reason": "a test"});
    walk.json("POST /api/v1/tenants/{id}/suspend", &[&acme], why).await;
    walk.json("POST /api/v1/tenants/{id}/resume", &[&acme], json!({})).await;
    walk.call("DELETE /api/v1/tenants/{id}", &[&acme], "", "").await;
    walk.json("POST /api/v1/tenants/{id}/restore", &[&acme], json!({}))
        .await;
    let bolt = bob.tenant.to_string();
    let to = json!({"cluster": "b"});
    let moved = walk.json("POST /api/v1/platform/tenants/{id}/move", &[&bolt], to).await;
    let abort = "POST /api/v1/platform/tenants/{id}/moves/{move}/abort";
    walk.json(abort, &[&bolt, moved["id"].as_str().unwrap()], json!({}))
        .await;

    let document = app.client.get("/openapi.json").await.expect(200);
    let walked: BTreeSet<_> = walk.recorded.keys().cloned().collect();
    assert_eq!(walked, changing(&document), "call a new route of operators above");
    for (route, entries) in &walk.recorded {
        assert_eq!(entries.len(), 1, "{route} is not in the log once: {entries:?}");
        assert_eq!(entries[0]["actor"], json!({"type": "operator", "id": me}), "{route}");
        let is_about_tenant = route.contains("tenants/{id}");
        let tells = entries[0]["targets"]
            .as_array()
            .unwrap()
            .iter()
            .any(|target| target["type"] == "tenant");
        assert!(
            tells || !is_about_tenant,
            "{route} does not tell which tenant: {}",
            entries[0]
        );
    }
}

#[tokio::test]
async fn the_log_is_read_by_operators_alone_by_actor_action_and_time_page_by_page() {
    let app = App::with(Options {
        without_worker: true,
        ..Options::default()
    })
    .await;
    app.client.get(LOG).await.expect_problem(401, "unauthenticated");
    let ada = app.register("ada@example.com").await;
    let ada = app.client.with_token(ada["access_token"].as_str().unwrap());
    ada.get(LOG).await.expect_problem(403, "forbidden");
    let (root, _) = app.operator_with("root@platform.example").await;
    let (other, _) = app.operator_with("other@platform.example").await;
    for (by, n) in [(&root, 1), (&root, 2), (&other, 3)] {
        let new = json!({"email": format!("op{n}@example.com"), "first_name": "A", "last_name": "B"});
        by.post("/api/v1/platform/operators", &new).await.expect(201);
    }
    let total = async |query: &str| root.get(&format!("{LOG}?{query}")).await.expect(200)["total"].clone();
    assert_eq!(total("").await, 3);
    assert_eq!(total(&format!("actor={}", super::id_of(&other).await)).await, 1);
    assert_eq!(total("action=operator.create").await, 3);
    assert_eq!(total("action=operator.delete").await, 0);
    assert_eq!(total("from=2999-01-01T00:00:00Z").await, 0);
    assert_eq!(total("to=2999-01-01T00:00:00Z").await, 3);
    for wrong in ["from=yesterday", "outcome=perhaps", "cursor=1", "limit=0"] {
        root.get(&format!("{LOG}?{wrong}"))
            .await
            .expect_problem(422, "validation");
    }
    let mut path = format!("{LOG}?limit=2");
    let mut seen = Vec::new();
    loop {
        let part = root.get(&path).await.expect(200);
        seen.extend(
            part["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|entry| entry["id"].to_string()),
        );
        let Some(cursor) = part["next_cursor"].as_str() else {
            break;
        };
        path = format!("{LOG}?limit=2&cursor={cursor}");
    }
    let distinct: BTreeSet<_> = seen.iter().collect();
    assert_eq!((seen.len(), distinct.len()), (3, 3));
}
