//! Tenants of another cluster as their members and operators see them.

use http::Method;
use serde_json::{Value, json};

use super::{is_gone, rows, settings_of};
use crate::harness::{App, Founder, Options, Postgres, TestDb, eventually};

/// A product over two clusters.
pub(super) struct Two {
    pub(super) app: App,
    pub(super) b: TestDb,
    _server: Postgres,
}

impl Two {
    /// New tenants are placed in this cluster.
    pub(super) async fn new(cluster: &str) -> Self {
        Self::with(cluster, Options::default()).await
    }

    /// The same with some options of the test's own.
    pub(super) async fn with(cluster: &str, options: Options) -> Self {
        let server = Postgres::start().await;
        let b = TestDb::on(server.url()).await;
        let mut settings: Vec<(&'static str, String)> = settings_of(&b)
            .into_iter()
            .map(|(key, value)| (&*key.leak(), value))
            .collect();
        settings.push(("BULKHEAD__DATABASE__NEW_TENANTS_CLUSTER", cluster.into()));
        settings.push(("BULKHEAD__TENANTS__SWEEP_MS", "100".into()));
        settings.push(("BULKHEAD__TENANTS__DELETION_GRACE_SECS", "0".into()));
        settings.extend(options.settings);
        let app = App::with(Options { settings, ..options }).await;
        Self {
            app,
            b,
            _server: server,
        }
    }
}

/// A machine of the founder's, once it runs.
async fn machine(founder: &Founder, name: &str) -> String {
    let templates = eventually("there are templates", async || {
        let templates = founder.client.get("/api/v1/vm-templates").await.expect(200);
        templates
            .as_array()
            .is_some_and(|list| !list.is_empty())
            .then_some(templates)
    })
    .await;
    let wanted = json!({
        "name": name, "source_type": "template", "template_id": templates[0]["id"],
        "cpu": 2, "memory_gb": 4, "disk_gb": 40,
    });
    let created = founder.client.post("/api/v1/vms", &wanted).await.expect(202);
    let path = format!("/api/v1/vms/{}", created["id"].as_str().unwrap());
    runs(founder, &path).await;
    path
}

async fn runs(founder: &Founder, machine: &str) {
    eventually("the machine runs", async || {
        (founder.client.get(machine).await.expect(200)["status"] == "RUNNING").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_company_is_signed_up_into_another_cluster_and_all_its_life_is_there() {
    let two = Two::new("b").await;
    let app = &two.app;
    let (ada, operator) = (app.founder("acme").await, app.operator().await);
    assert!(is_gone(&app.db, ada.tenant).await || rows(&app.db, ada.tenant).await.is_empty());
    assert_eq!(rows(&two.b, ada.tenant).await["members"].get(..1), Some("1"));
    let whoami = ada.client.get("/api/v1/whoami").await.expect(200);
    assert_eq!(whoami["tenant"]["slug"], "acme");
    let machine = machine(&ada, "web").await;

    let path = format!("/api/v1/tenants/{}", ada.tenant);
    let renamed = ada
        .client
        .send(
            Method::PATCH,
            &path,
            "application/json",
            json!({ "slug": "acme-2" }).to_string(),
        )
        .await;
    renamed.expect(200);
    ada.client.get(&machine).await.expect(200);
    let suspended = json!({ "mode": "full", "reason": "unpaid" });
    operator.post(&format!("{path}/suspend"), &suspended).await.expect(200);
    ada.client.get(&machine).await.expect_problem(403, "tenant_not_active");
    operator.post(&format!("{path}/resume"), &json!({})).await.expect(200);
    ada.client.get(&machine).await.expect(200);

    // A session ends at home, and within a second everywhere.
    ada.client.post("/api/v1/auth/logout", &json!({})).await.expect(204);
    eventually("the session is over", async || {
        (ada.client.get("/api/v1/whoami").await.status == 401).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_operator_moves_a_tenant_and_its_machines_and_members_notice_nothing_lasting() {
    let two = Two::new("home").await;
    let app = &two.app;
    let (ada, bob) = (app.founder("acme").await, app.founder("bolt").await);
    let operator = app.operator().await;
    let machine = machine(&ada, "web").await;
    let path = format!("/api/v1/platform/tenants/{}/move", ada.tenant);
    bob.client
        .post(&path, &json!({ "cluster": "b" }))
        .await
        .expect_problem(403, "forbidden");
    operator
        .post(&path, &json!({ "cluster": "c" }))
        .await
        .expect_problem(422, "validation");
    for cluster in ["b", "home"] {
        let begun = operator.post(&path, &json!({ "cluster": cluster })).await;
        let location = begun.headers["location"].to_str().unwrap().to_owned();
        let begun: Value = begun.expect(202);
        assert_eq!(begun["to_cluster"], cluster);
        let ended = eventually("the move has ended", async || {
            let moved = operator.get(&location).await.expect(200);
            // Whatever the moment, a read is answered or told to come back.
            let read = ada.client.get(&machine).await;
            assert!([200, 503].contains(&read.status.as_u16()), "{}", read.text);
            moved["finished_at"].is_string().then_some(moved)
        })
        .await;
        assert_eq!(ended["state"], "done", "{ended}");
        runs(&ada, &machine).await;
        ada.client.get("/api/v1/whoami").await.expect(200);
        operator
            .post(&format!("{location}/abort"), &json!({}))
            .await
            .expect_problem(409, "move_state");
        let (here, there) = if cluster == "b" {
            (&two.b, &app.db)
        } else {
            (&app.db, &two.b)
        };
        assert!(!rows(here, ada.tenant).await.is_empty());
        assert!(rows(there, ada.tenant).await.is_empty());
        self::machine(&ada, cluster).await;
    }
}

#[tokio::test]
async fn a_worker_that_is_killed_while_it_moves_a_tenant_is_followed_by_one_that_goes_on() {
    let mut two = Two::new("home").await;
    let ada = two.app.founder("acme").await;
    let operator = two.app.operator().await;
    let path = format!("/api/v1/platform/tenants/{}/move", ada.tenant);
    let begun = operator.post(&path, &json!({ "cluster": "b" })).await.expect(202);
    let location = format!("{path}s/{}", begun["id"].as_str().unwrap());
    eventually("the move is under way", async || {
        (operator.get(&location).await.expect(200)["state"] != "preparing").then_some(())
    })
    .await;
    two.app.worker.take().unwrap().kill().await;
    two.app.worker = Some(two.app.start_worker().await);
    let ended = eventually("the move has ended", async || {
        let moved = operator.get(&location).await.expect(200);
        moved["finished_at"].is_string().then_some(moved)
    })
    .await;
    assert_eq!(ended["state"], "done", "{ended}");
    ada.client.get("/api/v1/whoami").await.expect(200);
}

#[tokio::test]
async fn a_tenant_of_another_cluster_is_exported_and_purged_to_the_last_row() {
    let two = Two::new("b").await;
    let ada = two.app.founder("acme").await;
    let operator = two.app.operator().await;
    machine(&ada, "web").await;
    let path = format!("/api/v1/tenants/{}", ada.tenant);
    let export = operator.post(&format!("{path}/export"), &json!({})).await;
    let location = export.headers["location"].to_str().unwrap().to_owned();
    eventually("the archive is ready", async || {
        (operator.get(&location).await.expect(200)["status"] == "ready").then_some(())
    })
    .await;
    operator.delete(&path).await.expect(202);
    let receipt = eventually("there is a receipt", async || {
        let receipts = operator.get("/api/v1/platform/receipts").await.expect(200);
        receipts["items"].as_array().unwrap().first().cloned()
    })
    .await;
    let removed = &receipt["statement"]["removed_rows"];
    assert_eq!(
        (&removed["tenant.members"], &removed["tenant.vms"]),
        (&json!(1), &json!(1)),
        "{removed}"
    );
    for database in [&two.app.db, &two.b] {
        assert!(is_gone(database, ada.tenant).await);
        let known = format!(
            "SELECT count(*)::text FROM control.tenants WHERE id = '{}'",
            ada.tenant.uuid()
        );
        assert_eq!(super::text(&mut database.connect("postgres").await, &known).await, "0");
    }
}
