//! The same through the API, for operators; a worker carries runs out.

use std::time::Duration;

use bulkhead_kernel::{
    config::{Config, ConfigSource},
    origin::Origin,
};
use bulkhead_tenancy::fleet::{Fleet, RunState};
use bulkhead_tenants::migrations;
use bulkhead_worker::registry::{Parts, registry};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{NICK, Stage, all, lineage, options, patient};
use crate::harness::{App, Options, eventually};

const PATH: &str = "/api/v1/platform/migrations";

async fn app() -> App {
    App::with(Options {
        without_worker: true,
        ..Options::default()
    })
    .await
}

#[tokio::test]
async fn only_operators_see_and_steer_migrations() {
    let app = app().await;
    let pair = app.register("ada@example.com").await;
    let ada = app.client.with_token(pair["access_token"].as_str().unwrap());
    let one = format!("{PATH}/mig_0190a1b2c3d4e5f60718293a4b5c6d7e");
    for path in [
        PATH.to_owned(),
        format!("{PATH}/plan"),
        format!("{PATH}/drift"),
        one.clone(),
        format!("{one}/events"),
    ] {
        app.client.get(&path).await.expect_problem(401, "unauthenticated");
        ada.get(&path).await.expect_problem(403, "forbidden");
    }
    for path in [
        PATH.to_owned(),
        format!("{one}/pause"),
        format!("{one}/resume"),
        format!("{one}/retry"),
    ] {
        app.client
            .post(&path, &json!({}))
            .await
            .expect_problem(401, "unauthenticated");
        ada.post(&path, &json!({})).await.expect_problem(403, "forbidden");
    }
    let operator = app.operator().await;
    operator.get(&one).await.expect_problem(404, "not_found");
    operator
        .get(&format!("{PATH}/mig_1"))
        .await
        .expect_problem(404, "not_found");
    operator
        .post(&format!("{one}/pause"), &json!({}))
        .await
        .expect_problem(404, "not_found");
}

#[tokio::test]
async fn an_operator_starts_a_run_and_is_told_what_is_wrong_with_it() {
    let app = app().await;
    let db = app.db.db(&[]);
    app.db.tenant(&db, "acme").await;
    let operator = app.operator().await;
    let plan = operator.get(&format!("{PATH}/plan")).await.expect(200);
    assert_eq!(
        plan["versions"],
        json!([{"version": 1, "tenants": 1, "deleting": 0, "migrations": [], "is_served": true}])
    );
    let started = operator
        .post(PATH, &json!({"canaries": ["acme"], "max_failures": "5%"}))
        .await;
    let run = started.expect(202);
    assert_eq!(
        (&run["state"], &run["at_target"], &run["target"]),
        (&json!("done"), &json!(1), &json!(1))
    );
    let path = started.headers["location"].to_str().unwrap();
    let seen = operator.get(path).await.expect(200);
    assert_eq!((&seen["id"], &seen["tenants"]), (&run["id"], &json!([])));
    assert!(seen["principal"].as_str().unwrap().starts_with("usr_"), "{seen}");
    assert_eq!(operator.get(PATH).await.expect(200)["total"], 1);
    operator
        .post(&format!("{path}/pause"), &json!({}))
        .await
        .expect_problem(409, "migration_state");
    operator
        .post(&format!("{path}/resume"), &json!({}))
        .await
        .expect_problem(409, "migration_state");
    for (body, pointer) in [
        (json!({"max_failures": "many"}), "/max_failures"),
        (json!({"target": 7}), "/target"),
        (json!({"workers": 0}), "/workers"),
        (json!({"canaries": ["nobody"]}), "/canaries/0"),
        (json!({"speed": 9}), ""),
    ] {
        let problem = operator.post(PATH, &body).await.expect_problem(422, "validation");
        assert!(
            problem["errors"][0]["pointer"].as_str().unwrap().starts_with(pointer),
            "{problem}"
        );
    }
    let report = operator.get(&format!("{PATH}/drift")).await.expect(200);
    assert_eq!(report, json!({"tenants": 1, "drifts": []}));
}

/// A worker of the next release, in this process.
async fn work(stage: &Stage, stop: CancellationToken) {
    let urls = stage.test.settings().into_iter();
    let config = Config::load_for(ConfigSource::from_env(urls), &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let mut parts = Parts::new(stage.db.clone(), &config).unwrap();
    parts.lineage = lineage(&[NICK]);
    let worker = bulkhead_jobs::Worker::new(stage.db.clone(), registry(parts), &config.jobs).unwrap();
    worker.with_grace(Duration::from_secs(1)).run(stop).await;
}

#[tokio::test]
async fn a_worker_carries_a_run_out_and_whoever_watches_is_told() {
    let app = app().await;
    let db = app.db.db(&[("BULKHEAD__DATABASE__ACQUIRE_TIMEOUT_MS", "20000")]);
    let mut tenants = Vec::new();
    for index in 0..20 {
        tenants.push(app.db.tenant(&db, &format!("tenant-{index}")).await);
    }
    let admin = app.db.connect("postgres").await;
    let operator = app.operator().await;
    let mut stage = Stage {
        test: app.db.another(),
        db: db.clone(),
        tenants,
        admin,
    };
    stage.poison(11).await;
    let fleet = Fleet::new(db.clone(), lineage(&[NICK]));
    let origin = Origin::system("test");
    let started = migrations::start(&origin, &db, &fleet, &options()).await.unwrap();
    operator
        .post(PATH, &json!({}))
        .await
        .expect_problem(409, "migration_under_way");
    let path = format!("{PATH}/{}", started.id);
    let stop = CancellationToken::new();
    let events = format!("{path}/events");
    let watch = operator.get(&events);
    let (stream, ()) = tokio::join!(
        async {
            let stream = watch.await;
            stop.cancel();
            stream
        },
        work(&stage, stop.clone())
    );
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    let text = &stream.text;
    assert!(text.trim_end().ends_with("event: state\ndata: failed"), "{text}");
    assert!(text.contains("event: progress\ndata: {\"id\":\"mig_"), "{text}");
    assert_eq!(text.matches("event: tenant").count(), 1, "{text}");
    assert!(text.contains("\"slug\":\"tenant-11\""), "{text}");
    let seen = operator.get(&path).await.expect(200);
    assert_eq!((&seen["done"], &seen["failed"]), (&json!(19), &json!(1)));
    assert_eq!(seen["tenants"][0]["slug"], "tenant-11");

    stage.heal(11).await;
    let body = json!({"tenants": [stage.tenants[11]]});
    let retried = operator.post(&format!("{path}/retry"), &body).await.expect(202);
    assert_eq!((&retried["state"], &retried["pending"]), (&json!("running"), &json!(1)));
    let stop = CancellationToken::new();
    let done = async {
        eventually("the retried tenant is at the head", async || {
            (operator.get(&path).await.expect(200)["state"] == "done").then_some(())
        })
        .await;
        stop.cancel();
    };
    tokio::join!(done, work(&stage, stop.clone()));
    assert_eq!(stage.at_version(2).await, all(20));
}

#[tokio::test]
async fn a_paused_run_goes_on_when_it_is_resumed() {
    let app = app().await;
    let db = app.db.db(&[("BULKHEAD__DATABASE__ACQUIRE_TIMEOUT_MS", "20000")]);
    let tenants = vec![app.db.tenant(&db, "one").await, app.db.tenant(&db, "two").await];
    let operator = app.operator().await;
    let admin = app.db.connect("postgres").await;
    let mut stage = Stage {
        test: app.db.another(),
        db: db.clone(),
        tenants,
        admin,
    };
    let fleet = Fleet::new(db.clone(), lineage(&[NICK]));
    let origin = Origin::system("test");
    let started = migrations::start(&origin, &db, &fleet, &patient()).await.unwrap();
    let path = format!("{PATH}/{}", started.id);
    let paused = operator.post(&format!("{path}/pause"), &json!({})).await.expect(200);
    assert_eq!(paused["state"], RunState::Paused.as_str());
    let stop = CancellationToken::new();
    let steering = async {
        eventually("the worker has looked at it and let it be", async || {
            let looked = sqlx::query_scalar!(
                r#"SELECT EXISTS (SELECT FROM control.jobs WHERE kind = 'migrations.run' AND state = 'done') AS "is!""#
            );
            looked.fetch_one(&mut stage.admin).await.unwrap().then_some(())
        })
        .await;
        assert_eq!(stage.at_version(2).await, [0; 0]);
        operator.post(&format!("{path}/resume"), &json!({})).await.expect(202);
        eventually("the run is done", async || {
            (operator.get(&path).await.expect(200)["state"] == "done").then_some(())
        })
        .await;
        stop.cancel();
    };
    let worker_stage = Stage {
        test: app.db.another(),
        db: db.clone(),
        tenants: Vec::new(),
        admin: app.db.connect("postgres").await,
    };
    tokio::join!(steering, work(&worker_stage, stop.clone()));
    assert_eq!(stage.at_version(2).await, all(2));
}
