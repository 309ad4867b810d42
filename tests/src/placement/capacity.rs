//! Clusters that are full: measured, shown, and closed to new tenants and to those that move.

use std::time::Duration;

use bulkhead_kernel::ids::TenantId;
use bulkhead_tenancy::Cluster;
use bulkhead_tenants::capacity::{ClusterUse, service as capacity};
use serde_json::{Value, json};

use super::settings_of;
use crate::harness::{Answer, App, Client, Options, Postgres, TestDb, eventually, run};

/// What is known of the cluster by now: tenants, relations, mebibytes, connections.
async fn used(db: &bulkhead_tenancy::Db, cluster: usize) -> [i64; 4] {
    let known: Vec<ClusterUse> = capacity::list(db).await.unwrap();
    known[cluster].levels.map(|level| level.used)
}

#[tokio::test]
async fn what_is_there_is_counted_once_in_a_while_by_one_worker() {
    let test = TestDb::new().await;
    let db = test.db(&[("BULKHEAD__DATABASE__CAP_TENANTS", "5")]);
    assert_eq!(capacity::list(&db).await.unwrap()[0].measured_at, None);
    let [first, second] = [test.tenant(&db, "acme").await, test.tenant(&db, "bolt").await];
    let often = Duration::from_hours(1);
    capacity::measure(&db, often).await.unwrap();
    let mut admin = test.connect("postgres").await;
    let n_relations = sqlx::query_scalar!(r#"SELECT count(*) AS "n!" FROM pg_class"#);
    let n_relations = n_relations.fetch_one(&mut admin).await.unwrap();
    let [tenants, relations, size, connections] = used(&db, 0).await;
    assert_eq!((tenants, relations), (2, n_relations));
    assert!(size > 5 && connections > 0, "{size} MiB, {connections} connections");

    // Who lives elsewhere is not counted here. Nobody looks again so soon.
    let elsewhere = format!(
        "INSERT INTO control.placements (tenant_id, cluster) VALUES ('{}', 'b'), ('{}', 'home')",
        first.uuid(),
        second.uuid()
    );
    run(&mut admin, &elsewhere).await;
    capacity::measure(&test.db(&[]), often).await.unwrap();
    assert_eq!(used(&db, 0).await[0], 2);
    capacity::measure(&db, Duration::ZERO).await.unwrap();
    assert_eq!(used(&db, 0).await[0], 1);
}

/// A product over home, with room for four tenants of five, and b, whose use is what a test says.
struct Cells {
    app: App,
    operator: Client,
    _b: TestDb,
    _server: Postgres,
}

impl Cells {
    async fn new() -> Self {
        let server = Postgres::start().await;
        let b = TestDb::on(server.url()).await;
        let caps = [
            ("BULKHEAD__DATABASE__CAP_TENANTS", "5"),
            ("BULKHEAD__DATABASE__CLUSTERS__B__CAP_TENANTS", "0"),
            ("BULKHEAD__DATABASE__CLUSTERS__B__CAP_SIZE_MB", "100"),
        ];
        let settings = settings_of(&b).into_iter().map(|(key, value)| (&*key.leak(), value));
        let settings = settings.chain(caps.map(|(key, value)| (key, value.to_owned())));
        let app = App::with(Options {
            settings: settings.collect(),
            ..Options::default()
        })
        .await;
        let operator = app.operator().await;
        eventually("the worker has measured both", async || {
            let clusters = operator.get("/api/v1/platform/clusters").await.expect(200);
            let all = clusters.as_array().unwrap();
            (all.len() == 2 && all.iter().all(|one| one["measured_at"].is_string())).then_some(())
        })
        .await;
        Self {
            app,
            operator,
            _b: b,
            _server: server,
        }
    }

    /// As if somebody had measured this; nobody measures again for an hour.
    async fn say(&self, cluster: &str, figures: &str) {
        let sql = format!(
            "UPDATE control.cluster_use SET looked_at = now() + interval '1 hour', measured_at = now(), {figures} \
             WHERE cluster = '{cluster}'"
        );
        run(&mut self.app.db.connect("postgres").await, &sql).await;
    }

    /// Where home says that the tenant lives.
    async fn place(&self, tenant: TenantId) -> Option<String> {
        let sql = "SELECT cluster FROM control.placements WHERE tenant_id = $1";
        let mut admin = self.app.db.connect("postgres").await;
        let place = sqlx::query_scalar(sql).bind(tenant.uuid()).fetch_optional(&mut admin);
        place.await.unwrap()
    }
}

/// The problem of a full cluster, with all that an operator needs to know.
fn expect_full(answer: &Answer, parts: &[&str]) {
    let problem = answer.expect_problem(409, "cluster_full");
    let detail = problem["detail"].as_str().unwrap();
    for part in parts {
        assert!(detail.contains(part), "{part}: {detail}");
    }
}

#[tokio::test]
async fn a_full_cluster_sends_new_tenants_elsewhere_and_when_all_are_full_refuses_them() {
    let cells = Cells::new().await;
    cells.say("home", "n_tenants = 3").await;
    cells.say("b", "n_tenants = 10000, size_mb = 79").await;
    let ada = cells.app.founder("acme").await;
    assert_eq!(cells.place(ada.tenant).await, None, "there is room at home");

    cells.say("home", "n_tenants = 4").await;
    let bob = cells.app.founder("bolt").await;
    assert_eq!(cells.place(bob.tenant).await.as_deref(), Some("b"));

    cells.say("b", "size_mb = 80").await;
    let wanted = json!({"name": "Cord", "slug": "cord"});
    let refused = ada.client.post("/api/v1/tenants", &wanted).await;
    expect_full(
        &refused,
        &["home", "4 of 5 tenants", "80 %", "BULKHEAD__DATABASE__CAP_TENANTS"],
    );
    let shown = cells.operator.get("/api/v1/platform/clusters").await.expect(200);
    assert_eq!(
        (&shown[0]["name"], &shown[0]["takes_tenants"], &shown[0]["caps"][0]),
        (
            &json!("home"),
            &json!(false),
            &json!({"cap": "tenants", "limit": 5, "used": 4, "ratio": 0.8})
        )
    );
    assert_eq!(
        shown[1]["caps"][2],
        json!({"cap": "size_mb", "limit": 100, "used": 80, "ratio": 0.8})
    );
    assert_eq!(shown[1]["caps"][0].get("limit"), None, "b has no cap of tenants");

    // Nothing is left of the refused one, and with room it is made.
    cells.say("home", "n_tenants = 3").await;
    ada.client.post("/api/v1/tenants", &wanted).await.expect(202);
}

#[tokio::test]
async fn a_full_cluster_takes_no_tenant_on_the_move_and_no_archive() {
    let cells = Cells::new().await;
    let ada = cells.app.founder("acme").await;
    let export = format!("/api/v1/tenants/{}/export", ada.tenant);
    let accepted = ada.client.post(&export, &json!({})).await;
    let export: Value = accepted.expect(202);
    let location = accepted.headers["location"].to_str().unwrap().to_owned();
    eventually("the archive is ready", async || {
        (ada.client.get(&location).await.expect(200)["status"] == "ready").then_some(())
    })
    .await;
    cells.say("home", "n_tenants = 4").await;
    let export_id = location.rsplit('/').next().unwrap();
    let from = json!({ "export_id": export_id });
    let refused = cells.operator.post("/api/v1/tenants/import?slug=copy", &from).await;
    expect_full(&refused, &["home", "4 of 5 tenants"]);

    cells.say("b", "size_mb = 80").await;
    let path = format!("/api/v1/platform/tenants/{}/move", ada.tenant);
    let to_b = json!({ "cluster": "b" });
    let refused = cells.operator.post(&path, &to_b).await;
    expect_full(
        &refused,
        &["cluster b", "80 of 100 size_mb", "CLUSTERS__B__CAP_SIZE_MB"],
    );
    assert_eq!(cells.place(ada.tenant).await, None, "no move has begun: {export}");
    cells.say("b", "size_mb = 79").await;
    let begun = cells.operator.post(&path, &to_b).await.expect(202);
    assert_eq!(begun["to_cluster"], Cluster::from("b").as_str());
}

#[tokio::test]
async fn a_worker_shows_how_full_the_clusters_are() {
    let cells = Cells::new().await;
    let worker = Client::new(cells.app.worker.as_ref().unwrap().url("internal"));
    eventually("the gauges are there", async || {
        let text = worker.get("/metrics").await.text;
        let is_there = |line: &str| text.lines().any(|found| found.starts_with(line));
        [
            r#"bulkhead_cluster_used{cluster="b",cap="relations"} "#,
            r#"bulkhead_cluster_cap{cluster="home",cap="tenants"} 5"#,
            r#"bulkhead_cluster_cap{cluster="b",cap="size_mb"} 100"#,
            r#"bulkhead_cluster_used_ratio{cluster="home",cap="tenants"} 0"#,
        ]
        .into_iter()
        .all(is_there)
        .then_some(())
    })
    .await;
}
