//! Reports of keys that were found where they should not be.

use serde_json::{Value, json};

use super::{PATH, audit, mint, path_of, program};
use crate::harness::{App, run};

async fn report(app: &App, key: &str) -> Value {
    app.client
        .post(&format!("{PATH}/report-leak"), &json!({ "key": key }))
        .await
        .expect(202)
}

/// Who is written to about keys, with the end of the payload that tells which.
async fn mails(app: &App) -> Vec<(String, String)> {
    let rows = sqlx::query!(
        r#"
        SELECT payload ->> 'to' AS "to!", payload -> 'template' -> 'api_key_leaked' ->> 'hint' AS "hint!"
        FROM control.jobs
        WHERE kind = 'mail.send' AND payload -> 'template' -> 'api_key_leaked' IS NOT NULL
        ORDER BY id
        "#
    )
    .fetch_all(&mut app.db.connect("postgres").await)
    .await
    .unwrap();
    rows.into_iter().map(|row| (row.to, row.hint)).collect()
}

#[tokio::test]
async fn a_reported_key_ends_and_every_report_is_answered_alike() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let (key, text) = mint(&ada, "member", &["vm:read"]).await;
    let (_, bystander) = mint(&ada, "member", &["vm:read"]).await;
    let me = ada.client.get("/api/v1/whoami").await.expect(200)["principal"]["id"].clone();
    program(&app, &text).get("/api/v1/vms").await.expect(200);
    let typo = format!("{}{}", &text[..90], if text.ends_with('a') { "b" } else { "a" });
    let (forgotten, unknown) = mint(&ada, "tenant", &["vm:read"]).await;
    let forget = format!(
        "DELETE FROM api_keys WHERE hint = '{}'",
        forgotten["hint"].as_str().unwrap()
    );
    run(&mut app.db.look_into(ada.tenant).await, &forget).await;
    let mut answers = Vec::new();
    for reported in [
        "",
        "nonsense",
        "bh_live_",
        &typo,
        &unknown,
        &format!(" {text}\n"),
        &text,
    ] {
        answers.push(report(&app, reported).await);
    }
    answers.dedup();
    assert_eq!(answers, [json!({ "status": "received" })]);
    program(&app, &text)
        .get("/api/v1/vms")
        .await
        .expect_problem(401, "api_key_invalid");
    program(&app, &bystander).get("/api/v1/vms").await.expect(200);
    let shown = ada.client.get(&path_of(&key)).await.expect(200);
    assert_eq!(
        (&shown["status"], &shown["revoked_reason"]),
        (&json!("revoked"), &json!("leaked"))
    );
    let events = audit(&app, &ada).await;
    let leaks: Vec<_> = events
        .iter()
        .filter(|event| event.starts_with("api_key.leak done system"))
        .collect();
    assert!(
        leaks.len() == 1 && leaks[0].contains(key["id"].as_str().unwrap()),
        "{events:?}"
    );
    let hint = key["hint"].as_str().unwrap().to_owned();
    assert_eq!(mails(&app).await, [(me.as_str().unwrap().to_owned(), hint)]);
}

#[tokio::test]
async fn a_leaked_predecessor_ends_and_its_successor_goes_on() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let (key, old) = mint(&ada, "tenant", &["vm:read"]).await;
    let rotated = ada
        .client
        .post(&format!("{}/rotate", path_of(&key)), &json!({ "overlap_secs": 3600 }))
        .await;
    let next = rotated.expect(200)["key"].as_str().unwrap().to_owned();
    program(&app, &old).get("/api/v1/vms").await.expect(200);
    report(&app, &old).await;
    program(&app, &old)
        .get("/api/v1/vms")
        .await
        .expect_problem(401, "api_key_invalid");
    program(&app, &next).get("/api/v1/vms").await.expect(200);
    let shown = ada.client.get(&path_of(&key)).await.expect(200);
    assert_eq!(
        (&shown["status"], &shown["previous_until"]),
        (&json!("active"), &Value::Null)
    );
    assert_eq!(mails(&app).await.len(), 1);
}

#[tokio::test]
async fn a_leak_bites_in_a_closed_tenant_too() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let (_, text) = mint(&ada, "tenant", &["vm:read"]).await;
    let mut admin = app.db.connect("postgres").await;
    run(
        &mut admin,
        "UPDATE control.tenants SET status = 'suspended', suspension = 'full', epoch = epoch + 1",
    )
    .await;
    program(&app, &text)
        .get("/api/v1/vms")
        .await
        .expect_problem(403, "tenant_not_active");
    report(&app, &text).await;
    run(
        &mut admin,
        "UPDATE control.tenants SET status = 'active', suspension = NULL, epoch = epoch + 1",
    )
    .await;
    program(&app, &text)
        .get("/api/v1/vms")
        .await
        .expect_problem(401, "api_key_invalid");
}
