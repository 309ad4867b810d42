//! SIGKILL while an archive is written or loaded: the next worker finishes, and everything is there once.

use bulkhead_kernel::ids::TenantId;
use serde_json::json;
use sqlx::PgConnection;

use super::{contents, delete_machine, download, export, finished, import, machine};
use crate::{
    harness::{App, eventually, run},
    http::{hold_step, until_blocked},
};

/// Kills the worker once it waits for what `held` has locked, lets go, and starts another.
async fn kill_while_blocked(app: &mut App, mut held: PgConnection) {
    until_blocked(app, &mut held).await;
    app.worker.take().unwrap().kill().await;
    run(&mut held, "ROLLBACK").await;
    app.worker = Some(app.start_worker().await);
}

#[tokio::test]
async fn worker_killed_at_any_part_of_an_export() {
    let mut app = App::start().await;
    let ada = app.founder("acme").await;
    delete_machine(&ada, &machine(&ada, "web-1").await).await;
    let before = contents(&app, ada.tenant).await;
    let operator = app.operator().await;
    for lock in [
        "SELECT FROM control.exports FOR UPDATE",
        "LOCK TABLE control.memberships IN ACCESS EXCLUSIVE MODE",
        "LOCK TABLE members IN ACCESS EXCLUSIVE MODE",
        "LOCK TABLE vm_usage_segments IN ACCESS EXCLUSIVE MODE",
    ] {
        app.worker.take().unwrap().kill().await;
        let asked = ada
            .client
            .post(&format!("/api/v1/tenants/{}/export", ada.tenant), &json!({}))
            .await;
        let path = asked.headers["location"].to_str().unwrap().to_owned();
        let mut held = app.db.look_into(ada.tenant).await;
        run(&mut held, &format!("BEGIN; {lock}")).await;
        app.worker = Some(app.start_worker().await);
        kill_while_blocked(&mut app, held).await;
        eventually("the archive is written", async || {
            (ada.client.get(&path).await.expect(200)["status"] == "ready").then_some(())
        })
        .await;
    }
    let names = std::fs::read_dir(&app.archives)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap());
    let parts: Vec<_> = names.filter(|name| !name.ends_with(".tar")).collect();
    assert_eq!(parts, [""; 0], "an heir removes what was left");
    let archive = download(&ada.client, &export(&ada.client, ada.tenant).await).await;
    let accepted = import(&operator, "members=relink", archive).await.expect(202);
    finished(&operator, &accepted).await;
    assert_eq!(
        contents(&app, accepted["id"].as_str().unwrap().parse().unwrap()).await,
        before
    );
}

#[tokio::test]
async fn worker_killed_at_each_step_of_an_import() {
    let mut app = App::start().await;
    let ada = app.founder("acme").await;
    delete_machine(&ada, &machine(&ada, "web-1").await).await;
    let before = contents(&app, ada.tenant).await;
    let archive = download(&ada.client, &export(&ada.client, ada.tenant).await).await;
    let operator = app.operator().await;
    app.worker.take().unwrap().kill().await;
    let accepted = import(&operator, "members=relink", archive).await.expect(202);
    let tenant: TenantId = accepted["id"].as_str().unwrap().parse().unwrap();
    let mut admin = app.db.connect("postgres").await;
    let steps = sqlx::query_scalar!(
        "SELECT name FROM control.onboarding_steps WHERE tenant_id = $1 ORDER BY position",
        tenant.uuid(),
    )
    .fetch_all(&mut admin)
    .await
    .unwrap();
    assert!(
        steps.len() > 15 && steps.contains(&"table:vm_events".to_owned()),
        "{steps:?}"
    );
    // A job survives two lost leases and not the third, so each worker is killed at a step of its own and the count of
    // its job is set back.
    for step in &steps {
        let mut gate = app.db.connect("postgres").await;
        let mut held = hold_step(&mut gate, tenant, step).await;
        let worker = app.start_worker().await;
        until_blocked(&app, &mut held).await;
        worker.kill().await;
        run(
            &mut admin,
            "UPDATE control.jobs SET lost_leases = 0, attempt = 0, state = 'queued', lease_token = NULL, lease_until = NULL, \
             run_at = now() WHERE kind = 'tenants.import'",
        )
        .await;
        held.rollback().await.unwrap();
    }
    app.worker = Some(app.start_worker().await);
    finished(&operator, &accepted).await;
    assert_eq!(contents(&app, tenant).await, before);
    assert_eq!(app.enter(&ada.email, tenant).await.tenant, tenant);
}
