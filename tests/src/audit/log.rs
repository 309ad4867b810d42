//! Reading the log: filters, pages, cursors, exports, verification, and who may.

use http::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use super::recording::{entry, whole};
use crate::harness::{Answer, App, Client, Founder, eventually, run, server::path_of};

async fn make(ada: &Founder, name: &str, attributes: Value) -> Value {
    let thing = json!({"type": "disk", "name": name, "attributes": attributes});
    ada.client.post("/api/v1/resources", &thing).await.expect(201)
}

async fn log(client: &Client, query: &str) -> Value {
    client.get(&format!("/api/v1/audit-log?{query}")).await.expect(200)
}

fn ids(log: &Value) -> Vec<String> {
    let items = log["items"].as_array().unwrap().iter();
    items.map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn nobody_reads_it_without_the_permission_and_nobody_that_of_another_tenant() {
    let app = App::start().await;
    let (ada, bob) = (app.founder("acme").await, app.founder("bolt").await);
    let secret = make(&ada, "secret-of-acme", json!({})).await;
    let paths = [
        "/api/v1/audit-log",
        "/api/v1/audit-log/export",
        "/api/v1/audit-log/verify",
    ];
    for path in paths {
        app.client.get(path).await.expect_problem(401, "unauthenticated");
        let named = ada.client.with_header("x-org-id", &bob.slug);
        named.get(path).await.expect_problem(403, "tenant_mismatch");
        let bobs = bob.client.get(path).await;
        assert_eq!(bobs.status, 200);
        assert!(
            !bobs.text.contains("acme") && !bobs.text.contains(secret["id"].as_str().unwrap()),
            "{}",
            bobs.text
        );
    }
    assert_eq!(
        log(&bob.client, &format!("target={}", secret["id"].as_str().unwrap())).await["total"],
        0
    );
    run(
        &mut app.db.look_into(ada.tenant).await,
        "UPDATE member_roles SET role_id = (SELECT id FROM roles WHERE name = 'member')",
    )
    .await;
    for path in paths {
        eventually("the right is gone", async || {
            (ada.client.get(path).await.status == 403).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn entries_are_found_by_actor_action_target_outcome_and_time() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let fast = make(&ada, "fast", json!({})).await;
    make(&ada, "slow", json!({})).await;
    let path = format!("/api/v1/resources/{}", fast["id"].as_str().unwrap());
    ada.client
        .send(
            Method::PATCH,
            &path,
            "application/json",
            json!({"name": "faster"}).to_string(),
        )
        .await
        .expect(200);
    let total = async |query: &str| log(&ada.client, query).await["total"].as_i64().unwrap();
    let all = entry(&ada.client, "resource.update").await;
    assert_eq!(total("action=resource.create").await, 2);
    assert_eq!(total(&format!("target={}", fast["id"].as_str().unwrap())).await, 2);
    assert_eq!(
        total(&format!(
            "target={}&action=resource.update",
            fast["id"].as_str().unwrap()
        ))
        .await,
        1
    );
    assert!(total(&format!("actor={}", all["actor"]["id"].as_str().unwrap())).await >= 3);
    assert_eq!(total("actor=usr_nobody").await, 0);
    assert_eq!(total("outcome=refused").await, 0);
    let at = all["occurred_at"].as_str().unwrap();
    assert!(log(&ada.client, &format!("from={at}&action=resource.update")).await["total"] == 1);
    assert_eq!(total(&format!("to={at}&action=resource.update")).await, 0);
    for (query, pointer) in [
        ("outcome=maybe", "outcome"),
        ("from=yesterday", "from"),
        ("to=1", "to"),
        ("cursor=x", "cursor"),
        ("actor=%00", "actor"),
        ("page=0", "page"),
    ] {
        let refused = ada.client.get(&format!("/api/v1/audit-log?{query}")).await;
        assert_eq!(
            refused.expect_problem(422, "validation")["errors"][0]["pointer"],
            pointer,
            "{query}"
        );
    }
    let refused = ada.client.get("/api/v1/audit-log/export?format=xml").await;
    assert_eq!(
        refused.expect_problem(422, "validation")["errors"][0]["pointer"],
        "format"
    );
}

#[tokio::test]
async fn pages_and_cursors_lead_through_the_same_list_while_it_grows() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    for n in 0..7 {
        make(&ada, &format!("disk-{n}"), json!({})).await;
    }
    let all = ids(&log(&ada.client, "action=resource.create&limit=100").await);
    assert_eq!(all.len(), 7);
    let mut seen = Vec::new();
    let mut query = "action=resource.create&limit=3".to_owned();
    for _ in 0..4 {
        let part = log(&ada.client, &query).await;
        seen.extend(ids(&part));
        let Some(cursor) = part["next_cursor"].as_str() else {
            break;
        };
        query = format!("action=resource.create&limit=3&cursor={cursor}");
        // What is new does not shift what is left.
        make(&ada, &format!("later-{}", seen.len()), json!({})).await;
    }
    assert_eq!(seen, all);
    let second = log(&ada.client, "action=resource.create&limit=3&page=2").await;
    assert_eq!((second["page"].clone(), second["limit"].clone()), (json!(2), json!(3)));
    assert_eq!(ids(&second).len(), 3);
}

async fn export(ada: &Founder, query: &str) -> Answer {
    let answer = ada.client.get(&format!("/api/v1/audit-log/export{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer
}

#[tokio::test]
async fn exports_hold_everything_in_both_formats_run_nothing_and_are_recorded() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    make(&ada, "=1+1", json!({"note": "a,\"b\"", "api_key": "canary-0815"})).await;
    // More than one batch.
    let many = "INSERT INTO audit_events (id, occurred_at, action, outcome, actor_kind, actor_id, targets, changes, \
                request_id, agent) SELECT gen_random_uuid(), now() - n * interval '1 second', 'thing.make', 'done', 'system', \
                '', '[]', '{}', 'r', '=cmd()' FROM generate_series(1, 2500) AS n";
    run(&mut app.db.look_into(ada.tenant).await, many).await;
    let ndjson = export(&ada, "?action=thing.make").await;
    assert_eq!(ndjson.headers["content-type"], "application/x-ndjson");
    let lines: Vec<Value> = ndjson
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2_500);
    let csv = export(&ada, "?format=csv").await;
    assert!(csv.headers["content-type"].to_str().unwrap().starts_with("text/csv"));
    assert!(
        csv.headers["content-disposition"]
            .to_str()
            .unwrap()
            .contains("audit-log.csv")
    );
    assert!(csv.text.starts_with("id,seq,occurred_at,"), "{}", &csv.text[..60]);
    assert!(!csv.text.contains(",=cmd()") && csv.text.contains("\"'=cmd()\""));
    assert!(!csv.text.contains("canary"));
    let exported = entry(&ada.client, "audit_log.export").await;
    assert_eq!(exported["changes"]["format"]["after"], "csv");
    assert_eq!(log(&ada.client, "action=audit_log.export").await["total"], 2);
    whole(&ada.client).await;
}

#[tokio::test]
async fn the_command_names_the_first_bad_row_and_fails() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    entry(&ada.client, "user.add").await;
    let verify = async || {
        let command = Command::new(path_of("bulkhead-api"))
            .args(["audit", "verify", &ada.slug])
            .env_clear()
            .envs(app.env.iter().map(|(name, value)| (name, value)))
            .current_dir(std::env::temp_dir())
            .output()
            .await
            .unwrap();
        (command.status.success(), String::from_utf8(command.stdout).unwrap())
    };
    let (is_whole, said) = verify().await;
    assert!(is_whole && said.contains("The log is whole."), "{said}");
    run(
        &mut app.db.look_into(ada.tenant).await,
        "UPDATE audit_events SET changes = '{}' WHERE seq = 2",
    )
    .await;
    let (is_whole, said) = verify().await;
    assert!(!is_whole && said.contains("Row 2 (evt_"), "{said}");
}

#[tokio::test]
async fn a_tenant_sets_how_long_its_log_is_kept_and_cannot_make_traces_vanish_at_once() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let path = format!("/api/v1/tenants/{}", ada.tenant);
    let set = async |days: Value| {
        let body = json!({"settings": {"audit_retention_days": days}}).to_string();
        ada.client.send(Method::PATCH, &path, "application/json", body).await
    };
    for bad in [json!(29), json!(3_651), json!("90"), json!(1.5)] {
        let problem = set(bad).await.expect_problem(422, "validation");
        assert_eq!(problem["errors"][0]["pointer"], "/settings/audit_retention_days");
    }
    set(json!(90)).await.expect(200);
    let told = entry(&ada.client, "tenant.update").await;
    assert_eq!(
        told["changes"],
        json!({"settings.audit_retention_days": {"before": null, "after": 90}})
    );
}
