//! `resources.import`: many resources at once, each once.

use serde_json::{Value, json};
use sqlx::Connection as _;

use super::{JOBS, audit, busy, idle, reaches, rows, submit, with};
use crate::harness::{App, Founder, eventually, run};

async fn total(ada: &Founder) -> Value {
    ada.client.get("/api/v1/resources?limit=1").await.expect(200)["total"].clone()
}

#[tokio::test]
async fn rows_that_can_be_made_are_made_and_what_is_wrong_with_others_is_told() {
    let (_app, ada) = busy().await;
    let mut all = rows(1, 450);
    all[2] = json!({"type": "disk"});
    all[3] = json!({"type": "disk", "name": " DISK 1 "});
    all[4] = json!({"type": "Disk", "name": "disk 5"});
    all[5] = json!("no object");
    all[400] = json!({"type": "disk", "name": "disk 10", "attributes": {}});
    all[401] = json!({"type": "disk", "name": "disk 402", "color": "red"});
    let path = submit(&ada.client, "resources.import", json!({ "resources": all })).await;
    let done = reaches(&ada.client, &path, "done").await;
    let result = &done["result"];
    assert_eq!(
        (&result["rows"], &result["created"], &result["failed"]),
        (&json!(450), &json!(444), &json!(6)),
        "{result}"
    );
    let errors = result["errors"].as_array().unwrap();
    let told: Vec<_> = errors
        .iter()
        .map(|error| (error["row"].as_i64().unwrap(), error["code"].as_str().unwrap()))
        .collect();
    let expected = [
        (3, "validation"),
        (4, "name_taken"),
        (5, "validation"),
        (6, "validation"),
        (401, "name_taken"),
        (402, "validation"),
    ];
    for one in expected {
        assert!(told.contains(&one), "{one:?} is not in {told:?}");
    }
    assert_eq!(told.len(), expected.len(), "{told:?}");
    let invalid = errors.iter().find(|error| error["row"] == 5).unwrap();
    assert_eq!(invalid["pointer"], "/type", "{invalid}");
    assert_eq!(done["progress"], json!({"done": 450, "total": 450}));
    assert_eq!(total(&ada).await, 444);
    // Each is recorded as made by whoever submitted it.
    let log = ada
        .client
        .get("/api/v1/audit-log?limit=1&action=resource.create")
        .await
        .expect(200);
    assert_eq!(log["total"], 444, "{log}");
    assert_eq!(log["items"][0]["actor"]["id"], done["created_by"], "{log}");
    let found = ada.client.get("/api/v1/resources?search=disk%20450").await.expect(200);
    assert_eq!(found["items"][0]["created_by"], done["created_by"], "{found}");
    assert_eq!(found["items"][0]["attributes"], json!({"n": 450}), "{found}");
}

#[tokio::test]
async fn of_many_errors_the_first_hundred_are_told() {
    let (_app, ada) = busy().await;
    let all = vec![json!({"type": "disk", "name": "one"}); 300];
    let path = submit(&ada.client, "resources.import", json!({ "resources": all })).await;
    let done = reaches(&ada.client, &path, "done").await;
    let result = &done["result"];
    assert_eq!(
        (&result["created"], &result["failed"]),
        (&json!(1), &json!(299)),
        "{result}"
    );
    assert_eq!(result["errors"].as_array().unwrap().len(), 100);
}

/// Keeps the import at the batch of this row: somebody else is about to take its name, and does not.
struct Blocked(sqlx::PgConnection);

impl Blocked {
    async fn at(app: &App, ada: &Founder, row: usize) -> Self {
        let mut connection = app.db.look_into(ada.tenant).await;
        let take = format!(
            "BEGIN; INSERT INTO resources (id, type, name, attributes, created_by, created_at, updated_at) \
             VALUES (gen_random_uuid(), 'disk', 'disk {row}', '{{}}', 'x', now(), now())"
        );
        run(&mut connection, &take).await;
        Self(connection)
    }

    /// Waits until the import has come here.
    async fn reached(&self, app: &App) {
        let waiting = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() \
                       AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO resources%')";
        eventually("the import comes to the row", async || {
            let mut admin = app.db.connect("postgres").await;
            let is_waiting: bool = sqlx::query_scalar(waiting).fetch_one(&mut admin).await.unwrap();
            is_waiting.then_some(())
        })
        .await;
    }

    async fn release(mut self) {
        run(&mut self.0, "ROLLBACK").await;
        self.0.close().await.unwrap();
    }
}

#[tokio::test]
async fn an_import_whose_worker_is_killed_goes_on_where_it_was_and_makes_nothing_twice() {
    let (mut app, ada) = idle().await;
    let path = submit(&ada.client, "resources.import", json!({ "resources": rows(1, 650) })).await;
    for row in [250, 450] {
        let blocked = Blocked::at(&app, &ada, row).await;
        let worker = app.start_worker().await;
        blocked.reached(&app).await;
        let so_far = ada.client.get(&path).await.expect(200);
        let n_done = (row / 200) * 200;
        assert_eq!(so_far["progress"], json!({"done": n_done, "total": 650}), "{so_far}");
        assert_eq!(so_far["result"]["created"], n_done, "{so_far}");
        worker.kill().await;
        // The server ends a statement whose client is gone when it next looks at it.
        blocked.release().await;
        assert_eq!(total(&ada).await, n_done);
    }
    app.worker = Some(app.start_worker().await);
    let done = reaches(&ada.client, &path, "done").await;
    let result = &done["result"];
    assert_eq!(
        (&result["rows"], &result["created"], &result["failed"]),
        (&json!(650), &json!(650), &json!(0)),
        "{result}"
    );
    assert_eq!(total(&ada).await, 650);
    let log = ada
        .client
        .get("/api/v1/audit-log?limit=1&action=resource.create")
        .await
        .expect(200);
    assert_eq!(log["total"], 650, "{log}");
    let events = ada.client.get(&format!("{path}/events")).await.text;
    for row in [200, 400] {
        assert!(
            events.contains(&format!("It goes on after row {row} of 650.")),
            "{events}"
        );
    }
}

#[tokio::test]
async fn who_loses_the_right_in_the_middle_makes_no_more() {
    let (mut app, ada) = idle().await;
    let importer = with(&app, &ada, "importer", &["job:create", "resource:create"]).await;
    let path = submit(&importer, "resources.import", json!({ "resources": rows(1, 600) })).await;
    let blocked = Blocked::at(&app, &ada, 250).await;
    app.worker = Some(app.start_worker().await);
    blocked.reached(&app).await;
    let revoke = "DELETE FROM role_permissions WHERE permission = 'resource:create' \
                  AND role_id IN (SELECT id FROM roles WHERE name = 'importer')";
    run(&mut app.db.look_into(ada.tenant).await, revoke).await;
    blocked.release().await;
    let failed = reaches(&ada.client, &path, "failed").await;
    assert_eq!(failed["error"], "forbidden", "{failed}");
    // The batch that was under way had been let in.
    assert_eq!(
        (&failed["result"]["rows"], total(&ada).await),
        (&json!(400), json!(400)),
        "{failed}"
    );
    // Run again by somebody who may, it still acts for who submitted it.
    ada.client.post(&format!("{path}/retry"), &json!({})).await.expect(202);
    reaches(&ada.client, &path, "failed").await;
    assert_eq!(total(&ada).await, 400);
}

#[tokio::test]
async fn nobody_imports_into_a_tenant_that_is_not_theirs() {
    let (mut app, ada) = idle().await;
    let operator = app.operator().await;
    let wanted = json!({"type": "resources.import", "params": {"resources": rows(1, 1)}});
    operator
        .with_header("x-org-id", ada.tenant.to_string())
        .post(JOBS, &wanted)
        .await
        .expect_problem(404, "tenant_not_found");
    app.worker = Some(app.start_worker().await);
    assert_eq!(audit(&ada.client, "job.create").await.len(), 0);
    eventually("nothing is made", async || (total(&ada).await == 0).then_some(())).await;
}

#[tokio::test]
async fn a_cancelled_import_says_how_far_it_came_and_goes_on_from_there() {
    let (_app, ada) = busy().await;
    let path = submit(&ada.client, "resources.import", json!({ "resources": rows(1, 4_000) })).await;
    eventually("some rows are made", async || {
        let job = ada.client.get(&path).await.expect(200);
        (job["progress"]["done"].as_i64() > Some(0)).then_some(())
    })
    .await;
    ada.client.post(&format!("{path}/cancel"), &json!({})).await.expect(200);
    reaches(&ada.client, &path, "cancelled").await;
    let made = total(&ada).await.as_i64().unwrap();
    assert!(made > 0 && made < 4_000 && made % 200 == 0, "{made} rows");
    ada.client.post(&format!("{path}/retry"), &json!({})).await;
    reaches(&ada.client, &path, "done").await;
    assert_eq!(total(&ada).await, 4_000);
}
