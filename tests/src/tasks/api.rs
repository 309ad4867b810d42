//! `/jobs`: what a tenant can do with its jobs, and who may.

use bulkhead_kernel::ids::JobId;
use serde_json::{Value, json};

use super::{JOBS, audit, busy, idle, in_days, reaches, rows, submit, with};
use crate::harness::run;

fn ids(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap().iter();
    items.map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn jobs_are_listed_the_newest_first_by_state_type_and_time_part_by_part() {
    let (app, ada) = idle().await;
    let mut made = Vec::new();
    for _ in 0..3 {
        let path = submit(&ada.client, "usage.report", json!({})).await;
        made.insert(0, path.rsplit('/').next().unwrap().to_owned());
    }
    let list = async |query: &str| ada.client.get(&format!("{JOBS}?{query}")).await.expect(200);
    let all = list("type=usage.report").await;
    assert_eq!(ids(&all), made);
    assert_eq!((&all["limit"], &all["next_cursor"]), (&json!(20), &Value::Null));
    let job = &all["items"][0];
    assert_eq!((&job["state"], &job["attempt"]), (&json!("queued"), &json!(0)), "{job}");
    assert!(
        job["error"].is_null() && job["progress"].is_null() && job["result_url"].is_null(),
        "{job}"
    );
    let whoami = ada.client.get("/api/v1/whoami").await.expect(200);
    assert_eq!(job["created_by"], whoami["principal"]["id"], "{whoami}");
    // What built the tenant is among them; mail to its people is not.
    assert_eq!(list("state=done").await["items"][0]["type"], "tenants.onboard");
    assert_eq!(ids(&list("").await).len(), 4);
    assert_eq!(ids(&list("state=queued").await), made);
    assert_eq!(ids(&list("state=running").await), [""; 0]);
    let middle = list("type=usage.report").await["items"][1]["created_at"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        ids(&list(&format!("type=usage.report&since={middle}")).await),
        made[..2]
    );
    assert_eq!(
        ids(&list(&format!("type=usage.report&until={middle}")).await),
        made[2..]
    );
    let mut query = "limit=2&type=usage.report".to_owned();
    let mut seen = Vec::new();
    loop {
        let part = list(&query).await;
        seen.extend(ids(&part));
        let Some(cursor) = part["next_cursor"].as_str() else {
            break;
        };
        query = format!("limit=2&type=usage.report&cursor={cursor}");
    }
    assert_eq!(seen, made);
    assert_eq!(audit(&ada.client, "job.create").await.len(), 3);
    let told = &audit(&ada.client, "job.create").await[0];
    assert_eq!(told["targets"], json!([{"type": "job", "id": made[0]}]), "{told}");
    assert!(told.to_string().contains("usage.report"), "{told}");
    // Nothing of it is another tenant's.
    let mut app = app;
    app.worker = Some(app.start_worker().await);
    let bob = app.founder("bolt").await;
    let theirs = bob.client.get(JOBS).await.expect(200);
    assert_eq!(ids(&theirs).len(), 1, "{theirs}");
    assert_eq!(theirs["items"][0]["type"], "tenants.onboard");
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_with_its_place() {
    let (_app, ada) = idle().await;
    let refused = async |body: Value| {
        let problem = ada.client.post(JOBS, &body).await.expect_problem(422, "validation");
        let errors = problem["errors"].as_array().unwrap().iter();
        errors
            .map(|error| error["pointer"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(refused(json!({"type": "mail.send"})).await, ["/type"]);
    assert_eq!(
        refused(json!({"type": "usage.report", "params": []})).await,
        ["/params"]
    );
    assert_eq!(
        refused(json!({"type": "usage.report", "params": {"from": 1, "whence": 2}})).await,
        ["/params/from", "/params/whence"]
    );
    assert_eq!(
        refused(json!({"type": "resources.import", "params": {}})).await,
        ["/params/resources"]
    );
    assert_eq!(
        refused(json!({"type": "usage.report", "deadline": "2020-01-01T00:00:00Z"})).await,
        ["/deadline"]
    );
    assert_eq!(
        refused(json!({"type": "usage.report", "run_at": "2120-01-01T00:00:00Z"})).await,
        ["/run_at"]
    );
    let long = format!("type={}", "x".repeat(101));
    for wrong in [
        "state=dead",
        "limit=0",
        "limit=101",
        "cursor=1",
        "since=yesterday",
        "until=0",
        &long,
    ] {
        let problem = ada.client.get(&format!("{JOBS}?{wrong}")).await;
        let problem = problem.expect_problem(422, "validation");
        let name = wrong.split('=').next().unwrap();
        assert_eq!(problem["errors"][0]["pointer"], name, "{problem}");
    }
    assert_eq!(
        ids(&ada.client.get(&format!("{JOBS}?type=usage.report")).await.expect(200)),
        [""; 0]
    );
}

#[tokio::test]
async fn a_task_needs_what_it_does_as_well() {
    let (app, ada) = idle().await;
    let report = json!({"type": "usage.report"});
    let import = json!({"type": "resources.import", "params": {"resources": rows(1, 1)}});
    let export = json!({"type": "tenant.export"});
    let bare = with(&app, &ada, "bare", &["job:create"]).await;
    for task in [&report, &import, &export] {
        bare.post(JOBS, task).await.expect_problem(403, "forbidden");
    }
    let importer = with(&app, &ada, "importer", &["job:create", "resource:create"]).await;
    importer.post(JOBS, &import).await.expect(202);
    importer.post(JOBS, &report).await.expect_problem(403, "forbidden");
    // Owners alone carry the tenant away, whoever else holds the permission.
    let carrier = with(&app, &ada, "carrier", &["job:create", "tenant:export"]).await;
    carrier.post(JOBS, &export).await.expect_problem(403, "forbidden");
    ada.client.post(JOBS, &export).await.expect(202);
    let key = json!({"name": "ci", "scopes": ["job:create", "job:read", "resource:create"]});
    let key = ada.client.post("/api/v1/api-keys", &key).await.expect(201);
    let program = app.client.with_header("x-api-key", key["key"].as_str().unwrap());
    let job = program.post(JOBS, &import).await.expect(202);
    assert_eq!(job["created_by"], key["id"], "{job}");
    for task in [&report, &export] {
        program.post(JOBS, task).await.expect_problem(403, "forbidden");
    }
    // Support that was let in to write does the daily work and no more.
    let operator = app.operator().await;
    let access = format!("/api/v1/platform/tenants/{}/support-access", ada.tenant);
    let access = operator
        .post(&access, &json!({"reason": "a look at what is wrong", "write": true}))
        .await
        .expect(201);
    let inside = operator.with_header("x-org-id", ada.tenant.to_string());
    let job = inside.post(JOBS, &import).await.expect(202);
    assert_eq!(job["created_by"], access["id"], "{job}");
    inside.post(JOBS, &export).await.expect_problem(403, "forbidden");
}

#[tokio::test]
async fn under_a_key_the_same_request_is_answered_the_same_way_and_done_once() {
    let (_app, ada) = idle().await;
    let keyed = ada.client.with_header("idempotency-key", "key-1");
    let wanted =
        json!({"type": "usage.report", "params": {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}});
    let first = keyed.post(JOBS, &wanted).await;
    let again = keyed.post(JOBS, &wanted).await;
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(again.headers["location"], first.headers["location"]);
    keyed
        .post(JOBS, &json!({"type": "usage.report"}))
        .await
        .expect_problem(422, "idempotency_key_reused");
    let path = first.headers["location"].to_str().unwrap().to_owned();
    ada.client.post(&format!("{path}/cancel"), &json!({})).await.expect(200);
    let retry = format!("{path}/retry");
    let retried = keyed.post(&retry, &json!({})).await;
    retried.expect(202);
    // It waits by now, and is not run again; the same request is nevertheless answered as it was.
    assert_eq!(keyed.post(&retry, &json!({})).await.text, retried.text);
    ada.client
        .post(&retry, &json!({}))
        .await
        .expect_problem(409, "job_state");
    let list = ada.client.get(&format!("{JOBS}?type=usage.report")).await.expect(200);
    assert_eq!(ids(&list).len(), 1);
    assert_eq!(audit(&ada.client, "job.retry").await.len(), 1);
}

#[tokio::test]
async fn a_cancelled_job_never_runs_unless_it_is_run_again() {
    let (mut app, ada) = idle().await;
    let (run_at, deadline) = (in_days(30), in_days(31));
    let later = json!({"type": "usage.report", "run_at": run_at, "deadline": deadline});
    let job = ada.client.post(JOBS, &later).await.expect(202);
    assert_eq!(job["state"], "scheduled");
    assert!(
        job["run_at"]
            .as_str()
            .unwrap()
            .starts_with(run_at.trim_end_matches('Z')),
        "{job}"
    );
    assert!(
        job["deadline"]
            .as_str()
            .unwrap()
            .starts_with(deadline.trim_end_matches('Z')),
        "{job}"
    );
    let path = format!("{JOBS}/{}", job["id"].as_str().unwrap());
    let cancel = format!("{path}/cancel");
    for _ in 0..2 {
        let cancelled = ada.client.post(&cancel, &json!({})).await.expect(200);
        assert_eq!(cancelled["state"], "cancelled");
    }
    assert_eq!(audit(&ada.client, "job.cancel").await.len(), 1);
    app.worker = Some(app.start_worker().await);
    let other = submit(&ada.client, "usage.report", json!({})).await;
    reaches(&ada.client, &other, "done").await;
    assert_eq!(ada.client.get(&path).await.expect(200)["state"], "cancelled");
    let again = ada.client.post(&format!("{path}/retry"), &json!({})).await.expect(202);
    assert_eq!(
        (&again["state"], &again["finished_at"]),
        (&json!("queued"), &Value::Null)
    );
    let done = reaches(&ada.client, &path, "done").await;
    assert_eq!(done["attempt"], 1, "{done}");
    let problem = ada
        .client
        .post(&cancel, &json!({}))
        .await
        .expect_problem(409, "job_state");
    assert_eq!(problem["detail"], "The job is done.");
    ada.client
        .post(&format!("{path}/retry"), &json!({}))
        .await
        .expect_problem(409, "job_state");
}

#[tokio::test]
async fn what_waits_or_runs_already_is_not_submitted_or_run_a_second_time() {
    let (_app, ada) = idle().await;
    let first = submit(&ada.client, "tenant.export", json!({})).await;
    let wanted = json!({"type": "tenant.export"});
    ada.client
        .post(JOBS, &wanted)
        .await
        .expect_problem(409, "job_duplicate");
    ada.client
        .post(&format!("{first}/cancel"), &json!({}))
        .await
        .expect(200);
    ada.client.post(JOBS, &wanted).await.expect(202);
    ada.client
        .post(&format!("{first}/retry"), &json!({}))
        .await
        .expect_problem(409, "job_duplicate");
}

#[tokio::test]
async fn a_job_is_run_again_by_who_may_have_it_done() {
    let (app, ada) = idle().await;
    let path = submit(&ada.client, "tenant.export", json!({})).await;
    let helper = with(&app, &ada, "helper", &["job:read", "job:cancel", "job:retry"]).await;
    helper.post(&format!("{path}/cancel"), &json!({})).await.expect(200);
    helper
        .post(&format!("{path}/retry"), &json!({}))
        .await
        .expect_problem(403, "forbidden");
    ada.client.post(&format!("{path}/retry"), &json!({})).await.expect(202);
}

#[tokio::test]
async fn a_job_that_is_not_made_to_be_seen_answers_like_one_that_does_not_exist() {
    let (app, ada) = idle().await;
    let path = submit(&ada.client, "usage.report", json!({})).await;
    let hide = "UPDATE control.jobs SET is_visible = false";
    run(&mut app.db.connect("postgres").await, hide).await;
    let missing = format!("{JOBS}/{}", JobId::new());
    let body = async |path: String, post: bool| {
        let answer = if post {
            ada.client.post(&path, &json!({})).await
        } else {
            ada.client.get(&path).await
        };
        let problem = answer.expect_problem(404, "not_found");
        answer.text.replace(problem["instance"].as_str().unwrap(), "")
    };
    for (tail, post) in [
        ("", false),
        ("/result", false),
        ("/events", false),
        ("/cancel", true),
        ("/retry", true),
    ] {
        let (hidden, missing) = (format!("{path}{tail}"), format!("{missing}{tail}"));
        assert_eq!(body(hidden, post).await, body(missing, post).await, "{tail}");
    }
    assert_eq!(ids(&ada.client.get(JOBS).await.expect(200)), [""; 0]);
    let states = "SELECT count(*) FROM control.jobs WHERE kind = 'usage.report' AND state = 'queued'";
    let untouched: i64 = sqlx::query_scalar(states)
        .fetch_one(&mut app.db.connect("postgres").await)
        .await
        .unwrap();
    assert_eq!(untouched, 1);
}

#[tokio::test]
async fn jobs_of_a_suspended_tenant_are_parked_and_go_on_when_it_is_open() {
    let (app, ada) = busy().await;
    let operator = app.operator().await;
    let later = json!({"type": "usage.report", "run_at": in_days(30)});
    let job = ada.client.post(JOBS, &later).await.expect(202);
    let path = format!("{JOBS}/{}", job["id"].as_str().unwrap());
    let tenant = format!("/api/v1/tenants/{}", ada.tenant);
    let why = json!({"mode": "read_only", "reason": "a test"});
    operator.post(&format!("{tenant}/suspend"), &why).await.expect(200);
    reaches(&ada.client, &path, "parked").await;
    let parked = ada.client.get(&format!("{JOBS}?state=parked")).await.expect(200);
    assert_eq!(ids(&parked).len(), 1);
    operator.post(&format!("{tenant}/resume"), &json!({})).await.expect(200);
    reaches(&ada.client, &path, "scheduled").await;
}
