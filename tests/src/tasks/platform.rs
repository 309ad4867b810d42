//! `/platform/jobs` and `/platform/queues`: jobs of all tenants, for those who run the platform.

use serde_json::{Value, json};

use super::{JOBS, audit, idle, in_days, rows, submit};
use crate::harness::{App, Client, run};

const ALL: &str = "/api/v1/platform/jobs";

fn ids(list: &Value) -> Vec<Value> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["id"].clone())
        .collect()
}

async fn id_of(client: &Client, path: &str) -> Value {
    client.get(path).await.expect(200)["id"].clone()
}

async fn kill(app: &App, kind: &str) {
    let kill = format!(
        "UPDATE control.jobs SET state = 'dead', finished_at = now(), attempt = 5, last_error = 'it broke on purpose' \
         WHERE kind = '{kind}' AND state = 'queued'"
    );
    run(&mut app.db.connect("postgres").await, &kill).await;
}

#[tokio::test]
async fn operators_see_jobs_of_all_tenants_and_nothing_that_tenants_wrote() {
    let (app, ada) = idle().await;
    let operator = app.operator().await;
    let import = submit(&ada.client, "resources.import", json!({ "resources": rows(1, 2) })).await;
    let report = submit(&ada.client, "usage.report", json!({})).await;
    let (import, report) = (id_of(&ada.client, &import).await, id_of(&ada.client, &report).await);
    let list = async |query: &str| ids(&operator.get(&format!("{ALL}?{query}")).await.expect(200));
    assert_eq!(
        list(&format!("tenant_id={}&state=queued", ada.tenant)).await,
        [report.clone(), import.clone()]
    );
    assert_eq!(list("type=usage.report").await, std::slice::from_ref(&report));
    assert_eq!(list("queue=maintenance").await, [] as [Value; 0]);
    assert_eq!(list("queue=provision&state=done").await.len(), 1);
    let first = operator
        .get(&format!("{ALL}?limit=1&state=queued&type=usage.report"))
        .await
        .expect(200);
    let cursor = first["next_cursor"].as_str().unwrap();
    assert_eq!(
        list(&format!("state=queued&tenant_id={}&cursor={cursor}", ada.tenant)).await,
        std::slice::from_ref(&import)
    );
    assert!(first["items"][0]["payload"].is_null(), "{first}");
    let one = operator.get(&format!("{ALL}/{}", import.as_str().unwrap())).await;
    let job = one.expect(200);
    assert_eq!(job["payload"], json!({"resources": "… 2 items"}), "{job}");
    assert_eq!(
        (&job["tenant_id"], &job["is_visible"]),
        (&json!(ada.tenant), &json!(true))
    );
    assert!(!one.text.contains("disk 1"), "{}", one.text);
    for wrong in [
        "state=dead",
        "tenant_id=acme",
        "queue=fast",
        "cluster=nowhere",
        "cursor=x",
        "limit=0",
    ] {
        operator
            .get(&format!("{ALL}?{wrong}"))
            .await
            .expect_problem(422, "validation");
    }
    ada.client.get(ALL).await.expect_problem(403, "forbidden");
}

#[tokio::test]
async fn operators_end_jobs_and_run_dead_ones_again_and_the_tenant_is_told() {
    let (app, ada) = idle().await;
    let operator = app.operator().await;
    let own = submit(&ada.client, "usage.report", json!({})).await;
    let path = format!("{ALL}/{}", id_of(&ada.client, &own).await.as_str().unwrap());
    operator
        .post(&format!("{path}/retry"), &json!({}))
        .await
        .expect_problem(409, "job_state");
    kill(&app, "usage.report").await;
    let dead = operator.get(&path).await.expect(200);
    assert_eq!(
        (&dead["state"], &dead["last_error"]),
        (&json!("failed"), &json!("it broke on purpose"))
    );
    // Its tenant reads a code, and not what it broke on.
    let seen = ada.client.get(&own).await;
    assert_eq!(seen.expect(200)["error"], "internal");
    assert!(!seen.text.contains("purpose"), "{}", seen.text);
    operator
        .post(&format!("{path}/cancel"), &json!({}))
        .await
        .expect_problem(409, "job_state");
    let again = operator.post(&format!("{path}/retry"), &json!({})).await.expect(200);
    assert_eq!((&again["state"], &again["attempt"]), (&json!("queued"), &json!(0)));
    for _ in 0..2 {
        let ended = operator.post(&format!("{path}/cancel"), &json!({})).await.expect(200);
        assert_eq!(ended["state"], "cancelled");
    }
    assert_eq!(ada.client.get(&own).await.expect(200)["state"], "cancelled");
    let log = operator.get("/api/v1/platform/audit-log?limit=100").await.expect(200);
    let actions: Vec<_> = log["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["action"])
        .collect();
    assert_eq!(actions, ["job.cancel", "job.retry"], "{log}");
    let missing = format!("{ALL}/{}", bulkhead_kernel::ids::JobId::new());
    operator.get(&missing).await.expect_problem(404, "not_found");
    operator
        .post(&format!("{missing}/retry"), &json!({}))
        .await
        .expect_problem(404, "not_found");
    // The worker brings it into the tenant's own log.
    let mut app = app;
    app.worker = Some(app.start_worker().await);
    crate::harness::eventually("the tenant is told", async || {
        (audit(&ada.client, "job.cancel").await.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn all_dead_jobs_of_a_type_are_run_again_but_those_whose_work_is_done_already() {
    let (app, ada) = idle().await;
    let operator = app.operator().await;
    submit(&ada.client, "tenant.export", json!({})).await;
    kill(&app, "tenant.export").await;
    submit(&ada.client, "tenant.export", json!({})).await;
    for _ in 0..3 {
        submit(&ada.client, "usage.report", json!({})).await;
    }
    kill(&app, "usage.report").await;
    let retry = async |body: Value| operator.post(&format!("{ALL}/retry"), &body).await.expect(200);
    let nobody = bulkhead_kernel::ids::TenantId::new();
    assert_eq!(
        retry(json!({"type": "usage.report", "tenant_id": nobody})).await,
        json!({"retried": 0, "skipped": 0, "left": 0})
    );
    assert_eq!(
        retry(json!({"type": "usage.report"})).await,
        json!({"retried": 3, "skipped": 0, "left": 0})
    );
    assert_eq!(
        retry(json!({"type": "tenant.export"})).await,
        json!({"retried": 0, "skipped": 1, "left": 1})
    );
    let queued = ada
        .client
        .get(&format!("{JOBS}?state=queued&type=usage.report"))
        .await
        .expect(200);
    assert_eq!(queued["items"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn queues_are_counted_by_type_and_tenant() {
    let (app, ada) = idle().await;
    let operator = app.operator().await;
    submit(&ada.client, "tenant.export", json!({})).await;
    kill(&app, "tenant.export").await;
    for _ in 0..2 {
        submit(&ada.client, "usage.report", json!({})).await;
    }
    let later = json!({"type": "usage.report", "run_at": in_days(30)});
    ada.client.post(JOBS, &later).await.expect(202);
    let running = format!(
        "INSERT INTO control.jobs (id, kind, queue, tenant_id, payload, state, attempt, max_attempts, lease_token, lease_until, \
                                   worker, principal, request_id) \
         VALUES (gen_random_uuid(), 'usage.report', 'default', '{}', '{{}}', 'running', 1, 3, gen_random_uuid(), \
                 now() + interval '1 day', 'worker-of-the-test', 'p', 'r')",
        ada.tenant.uuid()
    );
    run(&mut app.db.connect("postgres").await, &running).await;
    let alive = "INSERT INTO control.job_workers (name, version, kinds, concurrency) VALUES ('worker-of-the-test', '0.1.0', '{}', 3)";
    run(&mut app.db.connect("postgres").await, alive).await;
    let queues = operator.get("/api/v1/platform/queues").await.expect(200);
    let kind = |name: &str| {
        let kinds = queues["kinds"].as_array().unwrap();
        kinds.iter().find(|kind| kind["type"] == name).unwrap().clone()
    };
    let report = kind("usage.report");
    assert_eq!(
        ["queued", "scheduled", "parked", "running", "failed"].map(|name| report[name].as_i64().unwrap()),
        [2, 1, 0, 1, 0],
        "{report}"
    );
    assert!(report["oldest_wait_s"].as_f64().unwrap() >= 0.0);
    let export = kind("tenant.export");
    assert_eq!(
        (&export["failed"], &export["queue"]),
        (&json!(1), &json!("maintenance"))
    );
    assert!(export["oldest_wait_s"].is_null());
    let tenants = queues["tenants"].as_array().unwrap();
    let own = tenants
        .iter()
        .find(|tenant| tenant["tenant_id"] == json!(ada.tenant))
        .unwrap();
    assert_eq!(
        (own["queued"].as_i64(), own["running"].as_i64()),
        // The end of the export waits to be told, too.
        (Some(4), Some(1)),
        "{own}"
    );
    let workers = queues["workers"].as_array().unwrap();
    let seen = workers
        .iter()
        .find(|worker| worker["name"] == "worker-of-the-test")
        .unwrap();
    assert_eq!(
        (&seen["running"], &seen["concurrency"]),
        (&json!(1), &json!(3)),
        "{seen}"
    );
}
