//! An archive may be larger than the memory of those who write and load it.
#![cfg(target_os = "linux")]

use super::{contents, export, finished};
use crate::harness::{App, run};
use serde_json::json;

const N_ROWS: i64 = 40_000;

/// The most memory that a process ever had, in KiB.
fn peak_kib(pid: u32) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_archive_is_never_held_in_memory() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let operator = app.operator().await;
    let fill = format!(
        "INSERT INTO roles (id, name, description, is_system) \
         SELECT gen_random_uuid(), 'role ' || n, repeat(md5(n::text), 32), false FROM generate_series(1, {N_ROWS}) AS n"
    );
    run(&mut app.db.look_into(ada.tenant).await, &fill).await;
    let pids = [app.worker.as_ref().unwrap().pid(), app.api.pid()];
    let before = pids.map(peak_kib);
    let path = export(&ada.client, ada.tenant).await;
    let bytes = ada.client.get(&path).await.expect(200)["bytes"].as_i64().unwrap();
    assert!(bytes > N_ROWS * 1_024, "{bytes}");
    let from = json!({ "export_id": path.rsplit('/').next().unwrap() });
    let accepted = operator
        .post("/api/v1/tenants/import?members=relink", &from)
        .await
        .expect(202);
    finished(&operator, &accepted).await;
    let copy = accepted["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(
        contents(&app, copy).await["roles"],
        contents(&app, ada.tenant).await["roles"]
    );
    let after = pids.map(peak_kib);
    for (before, after) in before.into_iter().zip(after) {
        assert!(
            (after - before) * 1_024 < bytes / 3,
            "from {before} to {after} KiB for {bytes} bytes"
        );
    }
}
