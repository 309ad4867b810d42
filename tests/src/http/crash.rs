//! SIGKILL at any step: the next worker finishes, and everything happens once.

use bulkhead_kernel::ids::TenantId;
use bulkhead_tenancy::SchemaName;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Postgres, Transaction};

use crate::harness::{App, Options, eventually};

const STEPS: [&str; 7] = [
    "role",
    "schema",
    "migrations",
    "defaults",
    "owner",
    "welcome",
    "activate",
];

/// Waits until somebody waits for the lock that `holder` has.
pub(crate) async fn until_blocked(app: &App, holder: &mut PgConnection) {
    let pid = sqlx::query_scalar!(r#"SELECT pg_backend_pid() AS "pid!""#)
        .fetch_one(holder)
        .await
        .unwrap();
    let mut admin = app.db.connect("postgres").await;
    eventually("the worker waits at the step", async || {
        let waiting = sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))) AS "waiting!""#,
            pid,
        )
        .fetch_one(&mut admin)
        .await
        .unwrap();
        waiting.then_some(())
    })
    .await;
}

/// Keeps every worker from doing `step` until the transaction ends.
pub(crate) async fn hold_step<'c>(
    gate: &'c mut PgConnection,
    tenant: TenantId,
    step: &str,
) -> Transaction<'c, Postgres> {
    let mut held = gate.begin().await.unwrap();
    sqlx::query!(
        "SELECT name FROM control.onboarding_steps WHERE tenant_id = $1 AND name = $2 FOR UPDATE",
        tenant.uuid(),
        step,
    )
    .fetch_one(&mut *held)
    .await
    .unwrap();
    held
}

/// Kills the worker while it is about to do `step`, and lets another one finish.
async fn kill_at(step: &str) {
    let app = App::with(Options {
        without_worker: true,
        ..Options::default()
    })
    .await;
    let pair = app.register("ada@example.com").await;
    let client = app.client.with_token(pair["access_token"].as_str().unwrap());
    let created = client
        .post("/api/v1/tenants", &json!({ "name": "Acme" }))
        .await
        .expect(202);
    let tenant: TenantId = created["id"].as_str().unwrap().parse().unwrap();

    let mut gate = app.db.connect("postgres").await;
    let mut held = hold_step(&mut gate, tenant, step).await;
    let worker = app.start_worker().await;
    until_blocked(&app, &mut held).await;
    worker.kill().await;
    held.rollback().await.unwrap();

    let _heir = app.start_worker().await;
    eventually("the heir finishes", async || {
        let tenant = client.get(&format!("/api/v1/tenants/{tenant}")).await.expect(200);
        (tenant["status"] == "active").then_some(())
    })
    .await;
    assert_built_once(&app, tenant).await;
    let steps = client
        .get(&format!("/api/v1/tenants/{tenant}/onboarding"))
        .await
        .expect(200);
    assert!(
        steps["steps"]
            .as_array()
            .unwrap()
            .iter()
            .all(|step| step["state"] == "done"),
        "{steps}"
    );
}

async fn assert_built_once(app: &App, tenant: TenantId) {
    let mut inside = app.db.look_into(tenant).await;
    let counts = sqlx::query!(
        r#"
        SELECT (SELECT count(*) FROM members)      AS "members!",
               (SELECT count(*) FROM roles)        AS "roles!",
               (SELECT count(*) FROM member_roles) AS "grants!",
               (SELECT count(*) FROM control.jobs WHERE kind = 'mail.send' AND tenant_id IS NOT NULL) AS "welcomes!"
        "#
    )
    .fetch_one(&mut inside)
    .await
    .unwrap();
    assert_eq!(
        (counts.members, counts.roles, counts.grants, counts.welcomes),
        (1, 4, 1, 1)
    );
    let role = SchemaName::from(tenant).to_string();
    inside
        .execute(sqlx::raw_sql(AssertSqlSafe(format!(
            "SET ROLE {role}; SELECT FROM members"
        ))))
        .await
        .unwrap();
}

macro_rules! killed_at {
    ($($name:ident: $step:literal,)*) => {$(
        #[tokio::test]
        async fn $name() {
            assert_eq!(STEPS[$step..].len(), STEPS.len() - $step);
            kill_at(STEPS[$step]).await;
        }
    )*};
}

killed_at! {
    worker_killed_at_role: 0,
    worker_killed_at_schema: 1,
    worker_killed_at_migrations: 2,
    worker_killed_at_defaults: 3,
    worker_killed_at_owner: 4,
    worker_killed_at_welcome: 5,
    worker_killed_at_activate: 6,
}

#[tokio::test]
async fn worker_killed_while_a_machine_is_made() {
    let mut app = App::with(Options {
        settings: vec![("BULKHEAD__COMPUTE__SIMULATOR_BOOT_MS", "700".into())],
        ..Options::default()
    })
    .await;
    let ada = app.founder("acme").await;
    let templates = ada.client.get("/api/v1/vm-templates").await.expect(200);
    let mut paths = Vec::new();
    for index in 0..6 {
        let machine = json!({
            "name": format!("web-{index}"), "source_type": "template", "template_id": templates[0]["id"],
            "cpu": 2, "memory_gb": 4, "disk_gb": 40,
        });
        let created = ada.client.post("/api/v1/vms", &machine).await.expect(202);
        paths.push(format!("/api/v1/vms/{}", created["id"].as_str().unwrap()));
        if index % 2 == 1 {
            app.worker.take().unwrap().kill().await;
            app.worker = Some(app.start_worker().await);
        }
    }
    for path in &paths {
        eventually("the machine runs", async || {
            (ada.client.get(path).await.expect(200)["status"] == "RUNNING").then_some(())
        })
        .await;
    }
    let mut inside = app.db.look_into(ada.tenant).await;
    let open = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM vm_usage_segments WHERE ended_at IS NULL AND meter = 'compute'"#
    )
    .fetch_one(&mut inside)
    .await
    .unwrap();
    assert_eq!(open, 6);
    let mut created = Vec::new();
    for file in std::fs::read_dir(&app.simulator).unwrap() {
        let effects = std::fs::read_to_string(file.unwrap().path()).unwrap();
        created.push(effects.matches("\"instance_created\"").count());
    }
    assert_eq!(created, [1; 6], "each machine was made once");
}
