//! `usage.report`: a table over what the tenant has and does.

use serde_json::{Value, json};

use super::{audit, busy, idle, reaches, submit, with};
use crate::harness::run;

#[tokio::test]
async fn a_report_counts_what_the_tenant_has_and_did_and_is_downloaded() {
    let (app, ada) = busy().await;
    app.founder("bolt").await;
    for (kind, name) in [("disk", "a"), ("disk", "b"), ("net", "a")] {
        let new = json!({"type": kind, "name": name});
        ada.client.post("/api/v1/resources", &new).await.expect(201);
    }
    let quoted = json!({"name": "=Ops, \"all\""});
    ada.client.post("/api/v1/roles", &quoted).await.expect(201);
    let machine = "INSERT INTO vms (id, name, source_type, iso_url, cpu, memory_gb, disk_gb, created_by, created_at, updated_at) \
                   VALUES (gen_random_uuid(), 'm1', 'iso', 'https://example.com/x.iso', 2, 4, 40, 'x', now(), now()), \
                          (gen_random_uuid(), 'm2', 'iso', 'https://example.com/x.iso', 1, 2, 10, 'x', now(), now())";
    run(&mut app.db.look_into(ada.tenant).await, machine).await;
    let path = submit(&ada.client, "usage.report", json!({})).await;
    let done = reaches(&ada.client, &path, "done").await;
    let download = done["result_url"].as_str().unwrap();
    assert_eq!(download, format!("{path}/result"));
    assert_eq!(done["result"]["download"], download, "{done}");
    assert_eq!(done["progress"], json!({"done": 5, "total": 5}));
    let file = ada.client.get(download).await;
    assert_eq!(file.headers["content-type"], "text/csv; charset=utf-8");
    let named = file.headers["content-disposition"].to_str().unwrap();
    assert!(
        named.starts_with("attachment; filename=\"usage-") && named.ends_with(".csv\""),
        "{named}"
    );
    let lines: Vec<&str> = file.text.split("\r\n").collect();
    let day: String = done["created_at"].as_str().unwrap().chars().take(10).collect();
    for line in [
        "section,item,day,measure,value",
        "members,active,,count,1",
        "roles,owner,,members,1",
        "roles,viewer,,members,0",
        "roles,\"'=Ops, \"\"all\"\"\",,members,0",
        "resources,disk,,count,2",
        "resources,net,,count,1",
        "machines,PROVISIONING,,count,2",
        "machines,PROVISIONING,,vcpu,3",
        "machines,PROVISIONING,,memory_gb,6",
        "machines,PROVISIONING,,disk_gb,50",
        &format!("audit_events,resource.create,{day},count,3"),
    ] {
        assert!(lines.contains(&line), "{line:?} is not in {}", file.text);
    }
    assert_eq!(done["result"]["rows"], lines.len() - 2, "{done}");
    assert_eq!(done["result"]["bytes"], file.text.len(), "{done}");
    // A period in which nothing happened.
    let before = json!({"from": "2020-01-01T00:00:00Z", "to": "2020-02-01T00:00:00Z"});
    let path = submit(&ada.client, "usage.report", before).await;
    reaches(&ada.client, &path, "done").await;
    let file = ada.client.get(&format!("{path}/result")).await;
    assert!(
        file.text.contains("resources,disk") && !file.text.contains("audit_events"),
        "{}",
        file.text
    );
}

#[tokio::test]
async fn a_report_is_for_those_who_may_have_one_written() {
    let (app, ada) = busy().await;
    let path = submit(&ada.client, "usage.report", json!({})).await;
    reaches(&ada.client, &path, "done").await;
    let reader = with(&app, &ada, "reader", &["job:read"]).await;
    reader.get(&path).await.expect(200);
    reader
        .get(&format!("{path}/result"))
        .await
        .expect_problem(403, "forbidden");
}

#[tokio::test]
async fn who_lost_the_right_meanwhile_gets_no_report_and_is_told_why() {
    let (mut app, ada) = idle().await;
    let writer = with(&app, &ada, "writer", &["job:create", "usage:read"]).await;
    let path = submit(&writer, "usage.report", json!({})).await;
    let revoke = "DELETE FROM role_permissions WHERE permission = 'usage:read' \
                  AND role_id IN (SELECT id FROM roles WHERE name = 'writer')";
    run(&mut app.db.look_into(ada.tenant).await, revoke).await;
    app.worker = Some(app.start_worker().await);
    let failed = reaches(&ada.client, &path, "failed").await;
    assert_eq!(
        (&failed["error"], &failed["attempt"]),
        (&json!("forbidden"), &json!(1)),
        "{failed}"
    );
    assert_eq!((&failed["result"], &failed["result_url"]), (&Value::Null, &Value::Null));
    assert!(!failed.to_string().contains("lacks"), "{failed}");
    ada.client
        .get(&format!("{path}/result"))
        .await
        .expect_problem(404, "not_found");
    // Given back, it is run again and says nothing of the failure before.
    let give =
        "INSERT INTO role_permissions (role_id, permission) SELECT id, 'usage:read' FROM roles WHERE name = 'writer'";
    run(&mut app.db.look_into(ada.tenant).await, give).await;
    ada.client.post(&format!("{path}/retry"), &json!({})).await.expect(202);
    let done = reaches(&ada.client, &path, "done").await;
    assert_eq!(done["error"], Value::Null, "{done}");
    assert_eq!(audit(&ada.client, "job.retry").await.len(), 1);
}

/// Whoever submitted it: what they are is looked at again when the worker begins.
#[tokio::test]
async fn a_key_that_was_revoked_and_a_member_who_left_have_nothing_done_any_more() {
    let (mut app, ada) = idle().await;
    let key = json!({"name": "ci", "scopes": ["job:create", "usage:read"]});
    let key = ada.client.post("/api/v1/api-keys", &key).await.expect(201);
    let program = app.client.with_header("x-api-key", key["key"].as_str().unwrap());
    let of_key = submit(&program, "usage.report", json!({})).await;
    let leaver = with(&app, &ada, "leaver", &["job:create", "usage:read"]).await;
    let of_leaver = submit(&leaver, "usage.report", json!({})).await;
    let operator = app.operator().await;
    let access = format!("/api/v1/platform/tenants/{}/support-access", ada.tenant);
    let wanted = json!({"reason": "a look at what is wrong", "write": true});
    let given = operator.post(&access, &wanted).await.expect(201);
    let inside = operator.with_header("x-org-id", ada.tenant.to_string());
    let of_support = submit(&inside, "usage.report", json!({})).await;
    let kept = {
        let key = json!({"name": "kept", "scopes": ["job:create", "usage:read"]});
        let key = ada.client.post("/api/v1/api-keys", &key).await.expect(201);
        let program = app.client.with_header("x-api-key", key["key"].as_str().unwrap());
        submit(&program, "usage.report", json!({})).await
    };
    let revoke = format!("/api/v1/api-keys/{}", key["id"].as_str().unwrap());
    ada.client.delete(&revoke).await.expect(204);
    let whoami = leaver.get("/api/v1/whoami").await.expect(200);
    let user = format!("/api/v1/users/{}", whoami["principal"]["id"].as_str().unwrap());
    ada.client.delete(&user).await.expect(204);
    operator
        .delete(&format!("{access}/{}", given["id"].as_str().unwrap()))
        .await
        .expect(204);
    app.worker = Some(app.start_worker().await);
    for path in [of_key, of_leaver, of_support] {
        let failed = reaches(&ada.client, &path, "failed").await;
        assert_eq!(failed["error"], "forbidden", "{failed}");
    }
    reaches(&ada.client, &kept, "done").await;
}
