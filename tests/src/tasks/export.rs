//! `tenant.export`: an archive of the tenant, as a job of its own.

use serde_json::json;

use super::{busy, idle, reaches, submit};

#[tokio::test]
async fn an_archive_is_asked_for_waited_for_and_linked_to() {
    let (_app, ada) = busy().await;
    let new = json!({"type": "disk", "name": "kept in the archive"});
    ada.client.post("/api/v1/resources", &new).await.expect(201);
    let path = submit(&ada.client, "tenant.export", json!({})).await;
    let done = reaches(&ada.client, &path, "done").await;
    let result = &done["result"];
    let place = format!(
        "/api/v1/tenants/{}/exports/{}",
        ada.tenant,
        result["export_id"].as_str().unwrap()
    );
    assert_eq!(result["download"], format!("{place}/download"), "{result}");
    let export = ada.client.get(&place).await.expect(200);
    assert_eq!((&export["bytes"], &export["rows"]), (&result["bytes"], &result["rows"]));
    assert_eq!(
        done["progress"],
        json!({"done": export["tables_done"], "total": export["tables_total"]})
    );
    let archive = ada.client.get(result["download"].as_str().unwrap()).await;
    assert_eq!(archive.status, 200);
    assert!(archive.text.contains("kept in the archive"));
    // One that waited for another job is not a failed attempt.
    assert_eq!(done["attempt"], 1, "{done}");
    // Asked for once, whatever the job was looked at.
    let asked = super::audit(&ada.client, "tenant.export").await;
    assert_eq!(asked.len(), 1, "{asked:?}");
}

#[tokio::test]
async fn an_archive_that_is_being_written_is_waited_for_and_then_ones_own_is_written() {
    let (mut app, ada) = idle().await;
    let other = format!("/api/v1/tenants/{}/export", ada.tenant);
    let other = ada.client.post(&other, &json!({})).await.expect(202);
    let path = submit(&ada.client, "tenant.export", json!({})).await;
    app.worker = Some(app.start_worker().await);
    let done = reaches(&ada.client, &path, "done").await;
    assert_ne!(done["result"]["export_id"], other["id"], "{done}");
}
