//! What the product records, and where it arrives.

use bulkhead_audit::Event;
use http::Method;
use serde_json::{Value, json};

use super::Lab;
use crate::harness::{App, Client, Founder, Options, eventually, run};

/// Waits until the tenant's log has an entry of this action that is sealed; gives it.
pub(super) async fn entry(client: &Client, action: &str) -> Value {
    let path = format!("/api/v1/audit-log?action={action}");
    eventually("the event is in the log", async || {
        let log = client.get(&path).await.expect(200);
        let first = log["items"][0].clone();
        first["seq"].is_i64().then_some(first)
    })
    .await
}

/// Proves the log whole, over the wire; gives what it said.
pub(super) async fn whole(client: &Client) -> Value {
    let verified = client.get("/api/v1/audit-log/verify").await.expect(200);
    assert_eq!(
        (&verified["ok"], &verified["flaw"]),
        (&json!(true), &Value::Null),
        "{verified}"
    );
    verified
}

async fn patch(client: &Client, path: &str, body: &Value) {
    let answer = client
        .send(Method::PATCH, path, "application/json", body.to_string())
        .await;
    answer.expect(200);
}

fn tenant_path(ada: &Founder, rest: &str) -> String {
    format!("/api/v1/tenants/{}{rest}", ada.tenant)
}

#[tokio::test]
async fn the_life_of_a_tenant_is_in_its_own_log() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let operator = app.operator().await;
    let me = ada.client.get("/api/v1/users/me").await.expect(200)["id"].clone();

    let created = entry(&ada.client, "tenant.create").await;
    assert_eq!(created["actor"], json!({"type": "member", "id": me}));
    assert_eq!(
        created["targets"],
        json!([{"type": "tenant", "id": ada.tenant.to_string()}])
    );
    assert_eq!(created["changes"]["slug"], json!({"before": null, "after": "acme"}));
    assert_eq!(created["context"]["address"], "127.0.0.1");
    let added = entry(&ada.client, "user.add").await;
    assert_eq!(added["targets"], json!([{"type": "user", "id": me}]));

    let change = json!({"name": "Other", "settings": {"smtp": {"host": "a", "password": "canary-4711"}}});
    patch(&ada.client, &tenant_path(&ada, ""), &change).await;
    let updated = entry(&ada.client, "tenant.update").await;
    assert_eq!(updated["changes"]["name"], json!({"before": "acme", "after": "Other"}));
    assert_eq!(
        updated["changes"]["settings.smtp"]["after"],
        json!({"host": "a", "password": "***"})
    );

    let why = json!({"mode": "read_only", "reason": "unpaid"});
    operator.post(&tenant_path(&ada, "/suspend"), &why).await.expect(200);
    // A tenant that is only read still has its log sealed.
    let suspended = eventually("the suspension is told", async || {
        let log = ada.client.get("/api/v1/audit-log?action=tenant.suspend").await;
        (log.status == 200)
            .then(|| log.json()["items"][0].clone())
            .filter(|entry| entry["seq"].is_i64())
    })
    .await;
    assert_eq!(suspended["actor"]["type"], "operator");
    assert_eq!(
        suspended["changes"]["status"],
        json!({"before": "active", "after": "suspended"})
    );
    assert_eq!(suspended["changes"]["reason"]["after"], "unpaid");
    operator
        .post(&tenant_path(&ada, "/resume"), &json!({}))
        .await
        .expect(200);
    operator.delete(&tenant_path(&ada, "")).await.expect(202);
    operator
        .post(&tenant_path(&ada, "/restore"), &json!({}))
        .await
        .expect(200);
    for action in ["tenant.resume", "tenant.delete", "tenant.restore"] {
        let entry = eventually("the tenant is open again and tells", async || {
            let log = ada.client.get(&format!("/api/v1/audit-log?action={action}")).await;
            (log.status == 200)
                .then(|| log.json()["items"][0].clone())
                .filter(|entry| entry["seq"].is_i64())
        })
        .await;
        assert_eq!(entry["actor"]["type"], "operator", "{action}");
    }
    whole(&ada.client).await;
    let all = ada.client.get("/api/v1/audit-log/export").await.text;
    assert!(all.contains("tenant.update") && !all.contains("canary"), "{all}");
}

#[tokio::test]
async fn machines_are_recorded_and_a_request_under_a_key_only_once() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let templates = ada.client.get("/api/v1/vm-templates").await.expect(200);
    let machine = json!({"name": "web", "source_type": "template", "template_id": templates[0]["id"],
        "cpu": 2, "memory_gb": 4, "disk_gb": 40});
    let keyed = ada
        .client
        .with_header("idempotency-key", "once")
        .with_header("user-agent", "probe/1");
    let vm = keyed.post("/api/v1/vms", &machine).await.expect(202);
    keyed.post("/api/v1/vms", &machine).await.expect(202);
    let path = format!("/api/v1/vms/{}", vm["id"].as_str().unwrap());
    ada.client.delete(&path).await.expect(202);
    let created = entry(&ada.client, "vm.create").await;
    assert_eq!(created["targets"][0]["id"], vm["id"]);
    assert_eq!(created["context"]["agent"], "probe/1");
    let deleted = entry(&ada.client, "vm.delete").await;
    assert_eq!(deleted["changes"], json!({"name": {"before": "web", "after": null}}));
    for action in ["vm.create", "vm.delete"] {
        let log = ada
            .client
            .get(&format!("/api/v1/audit-log?action={action}"))
            .await
            .expect(200);
        assert_eq!(log["total"], 1, "{log}");
    }
}

#[tokio::test]
async fn a_chain_comes_along_in_an_archive_and_goes_on_in_the_new_tenant() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let operator = app.operator().await;
    entry(&ada.client, "user.add").await;
    let before = whole(&ada.client).await["last_seq"].as_i64().unwrap();
    let accepted = ada.client.post(&tenant_path(&ada, "/export"), &json!({})).await;
    accepted.expect(202);
    let export = accepted.headers["location"].to_str().unwrap().to_owned();
    eventually("the archive is written", async || {
        (ada.client.get(&export).await.expect(200)["status"] == "ready").then_some(())
    })
    .await;
    let exported = entry(&ada.client, "tenant.export").await;
    assert_eq!(exported["actor"]["type"], "member");

    let from = json!({"export_id": export.rsplit('/').next().unwrap()});
    let imported = operator
        .post("/api/v1/tenants/import?slug=copy&members=relink", &from)
        .await
        .expect(202);
    let import = format!("/api/v1/tenants/imports/{}", imported["import_id"].as_str().unwrap());
    eventually("the import ends", async || {
        (operator.get(&import).await.expect(200)["status"] == "done").then_some(())
    })
    .await;
    let there = app
        .enter(&ada.email, imported["id"].as_str().unwrap().parse().unwrap())
        .await;
    let told = entry(&there.client, "tenant.import").await;
    assert_eq!(told["actor"]["type"], "operator");
    assert!(told["seq"].as_i64().unwrap() > before, "{told}");
    // The rows from before are the same ones, sealed by the same hashes.
    let first = |client: Client| async move {
        let log = client.get("/api/v1/audit-log?action=tenant.create").await.expect(200);
        (log["items"][0]["id"].clone(), log["items"][0]["hash"].clone())
    };
    assert_eq!(first(there.client.clone()).await, first(ada.client.clone()).await);
    assert_eq!(whole(&there.client).await["first_seq"], 1);
    // A copy in which somebody changed an old row does not pass for whole.
    run(
        &mut app.db.look_into(there.tenant).await,
        "UPDATE audit_events SET actor_id = 'usr_other' WHERE seq = 1",
    )
    .await;
    let verified = there.client.get("/api/v1/audit-log/verify").await.expect(200);
    assert_eq!(verified["flaw"]["seq"], 1, "{verified}");
}

#[tokio::test]
async fn a_worker_that_was_killed_leaves_nothing_that_the_next_one_does_not_seal() {
    let mut app = App::start().await;
    let ada = app.founder("acme").await;
    let make = async |name: String| {
        let thing = json!({"type": "disk", "name": name, "attributes": {}});
        ada.client.post("/api/v1/resources", &thing).await.expect(201);
    };
    for round in 0..3 {
        for n in 0..20 {
            make(format!("disk-{round}-{n}")).await;
        }
        // In the middle of whatever it does.
        app.worker.take().unwrap().kill().await;
        make(format!("last-{round}")).await;
        app.worker = Some(app.start_worker().await);
    }
    eventually("everything is sealed and attested", async || {
        let verified = whole(&ada.client).await;
        let is_attested = verified["checkpoint"]["seq"] == verified["last_seq"];
        (verified["unsealed"] == 0 && is_attested).then_some(())
    })
    .await;
    let log = ada
        .client
        .get("/api/v1/audit-log?action=resource.create")
        .await
        .expect(200);
    assert_eq!(log["total"], 63);
}

#[tokio::test]
async fn no_change_commits_without_its_record_and_no_record_without_its_change() {
    let lab = Lab::new().await;
    let new = bulkhead_resources::NewResource {
        kind: "disk".into(),
        name: "fast".into(),
        attributes: serde_json::Map::new(),
    };
    let n_things = async || {
        sqlx::query_scalar!(r#"SELECT count(*) AS "n!" FROM resources"#)
            .fetch_one(&mut lab.test.look_into(lab.tenant).await)
            .await
            .unwrap()
    };
    // A log that takes nothing stops every change.
    lab.tamper("ALTER TABLE audit_events ADD CONSTRAINT closed CHECK (action <> 'resource.create') NOT VALID")
        .await;
    let mut tx = lab.db.tenant(lab.tenant).await.unwrap();
    let refused = bulkhead_resources::service::create(&lab.scope, &mut tx, &new, None).await;
    assert!(refused.is_err() && tx.commit().await.is_err());
    assert_eq!(n_things().await, 0);
    lab.tamper("ALTER TABLE audit_events DROP CONSTRAINT closed").await;
    // A change that is given up leaves no record, and nothing to be sealed.
    let mut tx = lab.db.tenant(lab.tenant).await.unwrap();
    bulkhead_resources::service::create(&lab.scope, &mut tx, &new, None)
        .await
        .unwrap();
    drop(tx);
    assert_eq!((n_things().await, lab.places().await), (0, (vec![], 0)));
    // In control it is the same.
    let mut tx = lab.db.control().await.unwrap();
    let event = Event::now(
        "tenant.update",
        bulkhead_audit::Actor::of(&lab.scope.origin),
        &lab.scope.origin,
    );
    bulkhead_audit::record_for(&mut tx, lab.tenant, event).await.unwrap();
    drop(tx);
    lab.seal().await;
    assert_eq!(lab.places().await, (vec![], 0));
}

#[tokio::test]
async fn a_purged_tenant_leaves_nothing_but_its_checkpoints() {
    let app = App::with(Options {
        settings: vec![
            ("BULKHEAD__TENANTS__DELETION_GRACE_SECS", "0".into()),
            ("BULKHEAD__TENANTS__SWEEP_MS", "50".into()),
        ],
        ..Options::default()
    })
    .await;
    let ada = app.founder("acme").await;
    entry(&ada.client, "user.add").await;
    ada.client.delete(&tenant_path(&ada, "")).await.expect(202);
    let mut admin = app.db.connect("postgres").await;
    eventually("nothing is left", async || {
        let left = sqlx::query_scalar!(
            r#"
            SELECT (SELECT count(*) FROM control.tenants WHERE id = $1)
                 + (SELECT count(*) FROM control.audit_outbox WHERE tenant_id = $1)
                 + (SELECT count(*) FROM control.audit_heads WHERE tenant_id = $1) AS "n!"
            "#,
            ada.tenant.uuid(),
        );
        (left.fetch_one(&mut admin).await.unwrap() == 0).then_some(())
    })
    .await;
}
