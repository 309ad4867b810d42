//! What was tried and refused.

use bulkhead_iam::audit_log::service::{Refusal, record_refusal};
use chrono::DateTime;
use serde_json::{Value, json};

use super::{
    Lab,
    recording::{entry, whole},
};
use crate::harness::{App, Client, Founder, eventually, run};

/// Makes the founder somebody who only looks.
async fn demote(app: &App, ada: &Founder) {
    let sql = "UPDATE member_roles SET role_id = (SELECT id FROM roles WHERE name = 'admin')";
    let sql = format!(
        "{sql}; DELETE FROM role_permissions WHERE permission = 'resource:create' \
         AND role_id = (SELECT id FROM roles WHERE name = 'admin')"
    );
    run(&mut app.db.look_into(ada.tenant).await, &sql).await;
    eventually("the right is gone", async || {
        let whoami = ada.client.get("/api/v1/whoami").await.expect(200);
        (!whoami["permissions"].to_string().contains("resource:create")).then_some(())
    })
    .await;
}

async fn refused(client: &Client) -> Vec<Value> {
    let log = client.get("/api/v1/audit-log?outcome=refused").await.expect(200);
    log["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_refused_change_is_recorded_and_a_flood_of_them_is_one_row() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    demote(&app, &ada).await;
    let thing = json!({"type": "disk", "name": "fast", "attributes": {}});
    for _ in 0..30 {
        ada.client
            .post("/api/v1/resources", &thing)
            .await
            .expect_problem(403, "forbidden");
    }
    let told = entry(&ada.client, "request.refuse").await;
    assert_eq!(told["outcome"], "refused");
    assert_eq!(
        told["targets"],
        json!([{"type": "route", "id": "POST /api/v1/resources"}])
    );
    assert_eq!(told["changes"]["code"]["after"], "forbidden");
    // At most two: the minute may have turned.
    let n_told = refused(&ada.client).await.len();
    assert!((1..=2).contains(&n_told), "{n_told}");
    // Another try is another matter.
    let elsewhere = ada.client.with_header("x-org-id", "another");
    elsewhere
        .post("/api/v1/resources", &thing)
        .await
        .expect_problem(403, "tenant_mismatch");
    let codes: Vec<Value> = refused(&ada.client)
        .await
        .iter()
        .map(|entry| entry["changes"]["code"]["after"].clone())
        .collect();
    assert!(codes.contains(&json!("tenant_mismatch")), "{codes:?}");
    whole(&ada.client).await;
}

/// Each process remembers what it wrote; the id of the row is what they have in common.
#[tokio::test]
async fn the_same_refusal_is_one_row_a_minute_whichever_process_writes_it() {
    let lab = Lab::new().await;
    let refused = async |code: &'static str, secs: i64| {
        let refusal = Refusal {
            actor: "usr_1",
            route: "POST /api/v1/resources",
            code,
            at: DateTime::from_timestamp(1_800_000_000 + secs, 0).unwrap(),
        };
        let recorded = record_refusal(&lab.scope.origin, &lab.db, lab.tenant, &refusal).await;
        recorded.unwrap();
        lab.places().await.1
    };
    assert_eq!(refused("forbidden", 0).await, 1);
    assert_eq!(refused("forbidden", 59).await, 1);
    assert_eq!(refused("tenant_mismatch", 59).await, 2);
    assert_eq!(refused("forbidden", 60).await, 3);
}

#[tokio::test]
async fn what_only_reads_or_is_merely_wrong_or_belongs_to_nobody_is_not_recorded() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    demote(&app, &ada).await;
    run(
        &mut app.db.look_into(ada.tenant).await,
        "DELETE FROM role_permissions WHERE permission = 'vm:read'",
    )
    .await;
    eventually("machines are closed", async || {
        (ada.client.get("/api/v1/vms").await.status == 403).then_some(())
    })
    .await;
    let thing = json!({"type": "disk", "name": "fast", "attributes": {}});
    ada.client
        .post("/api/v1/vms", &json!({}))
        .await
        .expect_problem(422, "validation");
    ada.client
        .delete("/api/v1/resources/res_1")
        .await
        .expect_problem(404, "not_found");
    app.client
        .post("/api/v1/resources", &thing)
        .await
        .expect_problem(401, "unauthenticated");
    assert_eq!(refused(&ada.client).await, [Value::Null; 0]);
}
