//! What operators see of schedules and do with them. Everybody else is refused (http/access.rs).

use bulkhead_kernel::clock::Clock;
use serde_json::{Value, json};

use super::{ticks, time};
use crate::harness::{App, Client, eventually, run};

const PATH: &str = "/api/v1/platform/schedules";
const PRUNE: &str = "jobs.prune";

async fn shown(operator: &Client) -> Value {
    let listed = operator.get(PATH).await.expect(200);
    let found = listed.as_array().unwrap().iter().find(|one| one["name"] == PRUNE);
    found.unwrap().clone()
}

/// An application whose worker has brought its list in.
async fn app() -> (App, Client) {
    let app = App::start().await;
    let operator = app.operator().await;
    eventually("the list is brought in", async || {
        let listed = operator.get(PATH).await.expect(200);
        (!listed.as_array().unwrap().is_empty()).then_some(())
    })
    .await;
    // The hour may strike while a test runs.
    let never = "UPDATE control.schedules SET next_tick_at = '2999-01-01'";
    run(&mut app.db.connect("postgres").await, never).await;
    (app, operator)
}

async fn act(operator: &Client, verb: &str, status: u16) -> Value {
    operator
        .post(&format!("{PATH}/{PRUNE}/{verb}"), &json!({}))
        .await
        .expect(status)
}

async fn done(operator: &Client, other_than: &Value) -> Value {
    eventually("the job is done", async || {
        let job = shown(operator).await["last_job"].clone();
        (job["state"] == "done" && job["id"] != *other_than).then_some(job)
    })
    .await
}

#[tokio::test]
async fn they_are_shown_paused_resumed_and_run_by_hand() {
    let (app, operator) = app().await;
    let before = shown(&operator).await;
    assert_eq!(before["expression"], "7 * * * *");
    assert_eq!(
        (&before["is_paused"], &before["last_job"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(before["next_tick_at"], "2999-01-01T00:00:00Z");

    let paused = act(&operator, "pause", 200).await;
    assert_eq!(
        (&paused["is_paused"], &paused["next_tick_at"]),
        (&json!(true), &Value::Null)
    );
    assert_eq!(act(&operator, "pause", 200).await, paused);

    // By hand it runs, paused or not.
    let by_hand = act(&operator, "run-now", 202).await;
    let first = by_hand["last_job"]["id"].clone();
    assert!(first.as_str().unwrap().starts_with("job_"), "{by_hand}");
    let job = done(&operator, &Value::Null).await;
    assert_eq!(job["id"], first);
    assert_eq!(shown(&operator).await["last_tick_at"], Value::Null);

    // A tick that comes while it is paused passes; another schedule's does not.
    let mut admin = app.db.connect("postgres").await;
    run(
        &mut admin,
        "UPDATE control.schedules SET next_tick_at = now() - interval '1 minute'",
    )
    .await;
    eventually("the other one ticks", async || {
        (ticks(&app.db, "sessions.prune").await.len() == 1).then_some(())
    })
    .await;
    assert_eq!(ticks(&app.db, PRUNE).await.len(), 0);

    // Nothing of the pause is made up for, and what comes then is run.
    let resumed = act(&operator, "resume", 200).await;
    assert_eq!(resumed["is_paused"], false);
    let until_next = time(resumed["next_tick_at"].as_str().unwrap()) - Clock::system().now();
    assert!((-1..=3_600).contains(&until_next.num_seconds()), "{resumed}");
    assert_eq!(
        act(&operator, "resume", 200).await["next_tick_at"],
        resumed["next_tick_at"]
    );
    run(&mut admin, "UPDATE control.schedules SET next_tick_at = now()").await;
    done(&operator, &first).await;
    assert_eq!(ticks(&app.db, PRUNE).await.len(), 1);

    // Each change once; done before is nothing.
    let log = operator
        .get("/api/v1/platform/audit-log?target=jobs.prune")
        .await
        .expect(200);
    let actions: Vec<_> = log["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].clone())
        .collect();
    assert_eq!(actions, ["schedule.resume", "schedule.run_now", "schedule.pause"]);
    assert_eq!(
        log["items"][2]["changes"]["is_paused"],
        json!({"before": false, "after": true})
    );
}

#[tokio::test]
async fn what_is_no_schedule_is_not_found_and_nothing_is_written() {
    let (app, operator) = app().await;
    run(
        &mut app.db.connect("postgres").await,
        "UPDATE control.schedules SET retired_at = now() WHERE name = 'sessions.prune'",
    )
    .await;
    for name in ["jobs.nothing", "jobs", "x%00y", "%F0%9F%92%A9.a", "sessions.prune"] {
        for verb in ["pause", "resume", "run-now"] {
            let path = format!("{PATH}/{name}/{verb}");
            operator.post(&path, &json!({})).await.expect_problem(404, "not_found");
        }
    }
    let log = operator.get("/api/v1/platform/audit-log").await.expect(200);
    assert_eq!(log["total"], 0);
}

#[tokio::test]
async fn metrics_tell_of_paused_schedules_and_of_ticks_that_nobody_takes_up() {
    let (app, operator) = app().await;
    act(&operator, "pause", 200).await;
    run(
        &mut app.db.connect("postgres").await,
        "UPDATE control.schedules SET next_tick_at = now()",
    )
    .await;
    let worker = Client::new(app.worker.as_ref().unwrap().url("internal"));
    eventually("the metrics say so", async || {
        let text = worker.get("/metrics").await.text;
        let says = |line: &str| text.lines().any(|one| one == line);
        (says(r#"schedules_paused{cluster="home"} 1"#)
            && says(r#"schedules_overdue_seconds{cluster="home"} 0"#)
            && says(r#"schedule_lateness_seconds_count{schedule="sessions.prune"} 1"#))
        .then_some(())
    })
    .await;
}
