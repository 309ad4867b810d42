//! A tenant that is gone: nothing is left of it but a receipt, whenever the worker dies.

use std::process::Stdio;

use bulkhead_compute::simulator::Ledger;
use bulkhead_kernel::ids::TenantId;
use bulkhead_tenancy::SchemaName;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Row};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
};

use super::crash::until_blocked;
use crate::harness::{App, Client, Founder, Options, eventually, server::path_of, test_env};

const STEPS: [&str; 6] = ["machines", "jobs", "tables", "schema", "rows", "receipt"];

async fn app() -> App {
    App::with(Options {
        settings: vec![
            ("BULKHEAD__TENANTS__DELETION_GRACE_SECS", "0".into()),
            ("BULKHEAD__TENANTS__SWEEP_MS", "50".into()),
        ],
        ..Options::default()
    })
    .await
}

/// A founder with a machine that runs, and jobs of every sort.
async fn busy(app: &App, company: &str) -> Founder {
    let founder = app.founder(company).await;
    let templates = founder.client.get("/api/v1/vm-templates").await.expect(200);
    let machine = json!({
        "name": "web", "source_type": "template", "template_id": templates[0]["id"],
        "cpu": 2, "memory_gb": 4, "disk_gb": 40,
    });
    let created = founder.client.post("/api/v1/vms", &machine).await.expect(202);
    let vm = format!("/api/v1/vms/{}", created["id"].as_str().unwrap());
    eventually("the machine runs", async || {
        (founder.client.get(&vm).await.expect(200)["status"] == "RUNNING").then_some(())
    })
    .await;
    sqlx::query!(
        r#"
        INSERT INTO control.jobs (id, kind, queue, tenant_id, payload, max_attempts, principal, request_id)
        SELECT gen_random_uuid(), 'nobody.knows', 'default', $1, '{}', 3, 'nobody', 'none'
        FROM generate_series(1, 3)
        "#,
        founder.tenant.uuid(),
    )
    .execute(&mut app.db.connect("postgres").await)
    .await
    .unwrap();
    founder
}

async fn purged(app: &App, tenant: TenantId) {
    let mut admin = app.db.connect("postgres").await;
    eventually("the tenant is gone", async || {
        let exists = sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT FROM control.tenants WHERE id = $1) AS "exists!""#,
            tenant.uuid()
        );
        (!exists.fetch_one(&mut admin).await.unwrap()).then_some(())
    })
    .await;
}

/// Looks everywhere, not where the product says it looked.
async fn assert_nothing_left(app: &App, founder: &Founder) {
    let mut admin = app.db.connect("postgres").await;
    let (dashed, plain) = (
        founder.tenant.uuid().to_string(),
        founder.tenant.uuid().simple().to_string(),
    );
    let tables = sqlx::query_scalar!(
        r#"SELECT tablename::text AS "name!" FROM pg_tables WHERE schemaname = 'control' AND tablename <> 'purge_receipts'"#
    )
    .fetch_all(&mut admin)
    .await
    .unwrap();
    assert!(tables.len() >= 12, "{tables:?}");
    for table in tables {
        let sql = format!(
            "SELECT count(*) FROM control.{table} AS r WHERE r::text LIKE '%{dashed}%' OR r::text LIKE '%{plain}%'"
        );
        let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(&mut admin).await.unwrap();
        assert_eq!(row.get::<i64, _>(0), 0, "{table} still names the tenant");
    }
    let name = SchemaName::from(founder.tenant).to_string();
    let left = sqlx::query!(
        r#"
        SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = $1) AS "schemas!",
               (SELECT count(*) FROM pg_roles WHERE rolname = $1)     AS "roles!"
        "#,
        name,
    )
    .fetch_one(&mut admin)
    .await
    .unwrap();
    assert_eq!((left.schemas, left.roles), (0, 0));
    for hidden in [dashed, plain] {
        assert_eq!(redis_keys(&format!("*{hidden}*")).await, "*0\r\n");
    }
    assert!(redis_keys("*").await.starts_with('*'), "Redis was asked");
}

/// The answer of Redis to KEYS, as it goes over the wire.
async fn redis_keys(pattern: &str) -> String {
    let url = test_env("TEST_REDIS_URL");
    let mut redis = TcpStream::connect(url.trim_start_matches("redis://")).await.unwrap();
    redis
        .write_all(format!("KEYS {pattern}\r\nQUIT\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    redis.read_to_string(&mut answer).await.unwrap();
    answer.strip_suffix("+OK\r\n").unwrap().to_owned()
}

/// By the provider's own record of what it did.
fn assert_machines_deleted(app: &App) {
    assert!(std::fs::read_dir(&app.simulator).unwrap().next().is_some());
    assert_eq!(Ledger::read(&app.simulator).unwrap().existing(), [""; 0]);
}

async fn receipt(operator: &Client, tenant: TenantId) -> Value {
    let receipts = operator
        .get(&format!("/api/v1/platform/receipts?tenant_id={tenant}"))
        .await
        .expect(200);
    assert_eq!(receipts["total"], 1, "{receipts}");
    let id = receipts["items"][0]["id"].as_str().unwrap();
    let receipt = operator
        .get(&format!("/api/v1/platform/receipts/{id}"))
        .await
        .expect(200);
    assert_eq!(receipt, receipts["items"][0]);
    receipt
}

/// The product's own command says what the receipt says, or fails.
async fn verify(app: &App, jws: &str) -> Option<Value> {
    let mut command = Command::new(path_of("bulkhead-api"));
    command
        .arg("verify-receipt")
        .env_clear()
        .envs(app.env.iter().map(|(name, value)| (name, value)));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(jws.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    output
        .status
        .success()
        .then(|| serde_json::from_slice(&output.stdout).unwrap())
}

#[tokio::test]
async fn a_purge_leaves_nothing_but_a_receipt_that_anybody_can_check() {
    let app = app().await;
    let (ada, bob, operator) = (busy(&app, "acme").await, busy(&app, "bolt").await, app.operator().await);
    let path = format!("/api/v1/tenants/{}", ada.tenant);
    ada.client
        .delete(&format!("{path}?reason=the%20contract%20ended"))
        .await
        .expect(202);
    purged(&app, ada.tenant).await;
    assert_nothing_left(&app, &ada).await;

    ada.client.get(&path).await.expect_problem(404, "tenant_not_found");
    operator
        .post(&format!("{path}/restore"), &json!({}))
        .await
        .expect_problem(404, "tenant_not_found");
    bob.client.get("/api/v1/vms").await.expect(200);
    let again = app.client.with_token(&app.enter(&bob.email, bob.tenant).await.token);
    let founded = again
        .post("/api/v1/tenants", &json!({ "name": "Acme", "slug": "acme" }))
        .await;
    founded.expect(202);

    let receipt = receipt(&operator, ada.tenant).await;
    let statement = &receipt["statement"];
    assert_eq!(statement["tenant_id"], ada.tenant.to_string());
    assert_eq!(
        (&statement["slug"], &statement["reason"]),
        (&json!("acme"), &json!("the contract ended"))
    );
    let removed = &statement["removed_rows"];
    for (table, rows) in [
        ("tenant.members", 1),
        ("tenant.roles", 4),
        ("tenant.vms", 1),
        ("control.memberships", 1),
        ("control.onboarding_steps", 7),
    ] {
        assert_eq!(removed[table], rows, "{table} in {removed}");
    }
    assert!(removed["control.jobs"].as_i64().unwrap() >= 3 + 2, "{removed}");

    let jws = receipt["jws"].as_str().unwrap();
    assert_eq!(verify(&app, jws).await.as_ref(), Some(statement));
    let keys = app.client.get("/.well-known/jwks.json").await.expect(200);
    assert_signed(jws, &keys["keys"][0]);
    let (head, signature) = jws.rsplit_once('.').unwrap();
    let altered = format!("{head}.{}", signature.chars().rev().collect::<String>());
    assert_eq!(verify(&app, &altered).await, None);
    let as_token = app.client.with_token(jws).get("/api/v1/users/me").await;
    as_token.expect_problem(401, "token_invalid");
}

/// As anybody with a JOSE library would check it.
fn assert_signed(jws: &str, key: &Value) {
    let (message, signature) = jws.rsplit_once('.').unwrap();
    let part = |name: &str| key[name].as_str().unwrap();
    let key = jsonwebtoken::DecodingKey::from_rsa_components(part("n"), part("e")).unwrap();
    let is_signed = jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, jsonwebtoken::Algorithm::RS256);
    assert!(is_signed.unwrap());
}

/// Kills the worker while it is about to do `step`, and lets another one finish.
async fn kill_at(step: &str) {
    let mut app = app().await;
    let (ada, operator) = (busy(&app, "acme").await, app.operator().await);
    app.worker.take().unwrap().kill().await;
    ada.client
        .delete(&format!("/api/v1/tenants/{}", ada.tenant))
        .await
        .expect(202);

    let mut gate = app.db.connect("postgres").await;
    let names = STEPS.map(str::to_owned);
    sqlx::query!(
        r#"
        INSERT INTO control.purge_steps (tenant_id, position, name)
        SELECT $1, step.position, step.name
        FROM unnest($2::text[]) WITH ORDINALITY AS step (name, position)
        "#,
        ada.tenant.uuid(),
        &names,
    )
    .execute(&mut gate)
    .await
    .unwrap();
    let mut held = gate.begin().await.unwrap();
    sqlx::query!(
        "SELECT name FROM control.purge_steps WHERE tenant_id = $1 AND name = $2 FOR UPDATE",
        ada.tenant.uuid(),
        step,
    )
    .fetch_one(&mut *held)
    .await
    .unwrap();
    let worker = app.start_worker().await;
    until_blocked(&app, &mut held).await;
    worker.kill().await;
    let refused = operator
        .post(&format!("/api/v1/tenants/{}/restore", ada.tenant), &json!({}))
        .await;
    refused.expect_problem(409, "tenant_state_conflict");
    held.rollback().await.unwrap();

    let _heir = app.start_worker().await;
    purged(&app, ada.tenant).await;
    assert_nothing_left(&app, &ada).await;
    assert_machines_deleted(&app);
    let removed = receipt(&operator, ada.tenant).await["statement"]["removed_rows"].clone();
    assert_eq!(
        (&removed["tenant.members"], &removed["tenant.vms"]),
        (&json!(1), &json!(1)),
        "{removed}"
    );
}

macro_rules! killed_at {
    ($($name:ident: $step:literal,)*) => {$(
        #[tokio::test]
        async fn $name() {
            kill_at(STEPS[$step]).await;
        }
    )*};
}

killed_at! {
    purging_worker_killed_at_machines: 0,
    purging_worker_killed_at_jobs: 1,
    purging_worker_killed_at_tables: 2,
    purging_worker_killed_at_schema: 3,
    purging_worker_killed_at_rows: 4,
    purging_worker_killed_at_receipt: 5,
}

#[tokio::test]
async fn two_workers_purge_many_tenants_without_getting_in_each_others_way() {
    let app = app().await;
    let _second = app.start_worker().await;
    let operator = app.operator().await;
    let mut founders = Vec::new();
    for company in ["acme", "bolt", "cord"] {
        founders.push(app.founder(company).await);
    }
    for founder in &founders {
        founder
            .client
            .delete(&format!("/api/v1/tenants/{}", founder.tenant))
            .await
            .expect(202);
    }
    for founder in &founders {
        purged(&app, founder.tenant).await;
        assert_nothing_left(&app, founder).await;
        let statement = receipt(&operator, founder.tenant).await["statement"].clone();
        assert_eq!(statement["removed_rows"]["tenant.roles"], 4, "{statement}");
    }
}
