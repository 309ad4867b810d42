//! Who may export, and what is in the archive.

use serde_json::json;
use sqlx::Connection;

use super::{export, forge::Forged};
use crate::{
    archives::download,
    harness::{App, eventually, run},
    http::until_blocked,
};

#[tokio::test]
async fn only_owners_and_operators_have_a_tenants_archive() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let bob = app.founder("bolt").await;
    let operator = app.operator().await;
    let path = format!("/api/v1/tenants/{}/export", ada.tenant);
    app.client
        .post(&path, &json!({}))
        .await
        .expect_problem(401, "unauthenticated");
    bob.client
        .post(&path, &json!({}))
        .await
        .expect_problem(404, "tenant_not_found");
    let ready = export(&ada.client, ada.tenant).await;
    for (path, status, code) in [
        (ready.clone(), 404, "tenant_not_found"),
        (format!("{ready}/download"), 404, "tenant_not_found"),
        (
            ready.replace(&ada.tenant.to_string(), &bob.tenant.to_string()),
            404,
            "not_found",
        ),
    ] {
        bob.client.get(&path).await.expect_problem(status, code);
    }
    assert_eq!(download(&operator, &ready).await, download(&ada.client, &ready).await);

    // Bob becomes a member of Ada's without being an owner.
    let member = format!(
        "INSERT INTO control.memberships (identity_id, tenant_id, role) \
         SELECT id, '{}', 'admin' FROM control.identities WHERE email = '{}'",
        ada.tenant.uuid(),
        bob.email
    );
    run(&mut app.db.connect("postgres").await, &member).await;
    let pair = json!({ "email": bob.email, "password": crate::harness::PASSWORD });
    let pair = app.client.post("/api/v1/auth/login", &pair).await.expect(200);
    let bob = app.client.with_token(pair["access_token"].as_str().unwrap());
    bob.post(&path, &json!({})).await.expect_problem(403, "forbidden");
    bob.get(&ready).await.expect_problem(403, "forbidden");
    bob.get(&format!("{ready}/download"))
        .await
        .expect_problem(403, "forbidden");
}

#[tokio::test]
async fn a_suspended_tenant_can_be_exported() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let operator = app.operator().await;
    let suspend = "UPDATE control.tenants SET status = 'suspended', suspension = 'full', epoch = epoch + 1";
    run(&mut app.db.connect("postgres").await, suspend).await;
    let archive = download(&operator, &export(&operator, ada.tenant).await).await;
    let manifest = Forged::of(&archive).manifest;
    assert_eq!(manifest["tenant"]["slug"], "acme");
    assert_eq!(manifest["format"], 1);
}

#[tokio::test]
async fn one_archive_at_a_time_is_written_and_none_is_given_before_it_is_whole() {
    let mut app = App::start().await;
    let ada = app.founder("acme").await;
    app.worker.take().unwrap().kill().await;
    let path = format!("/api/v1/tenants/{}/export", ada.tenant);
    let answer = ada.client.post(&path, &json!({})).await;
    let ready = answer.headers["location"].to_str().unwrap();
    assert_eq!(ada.client.get(ready).await.expect(200)["status"], "waiting");
    let early = ada.client.get(&format!("{ready}/download")).await;
    early.expect_problem(409, "export_not_ready");
    ada.client
        .post(&path, &json!({}))
        .await
        .expect_problem(409, "export_in_progress");
    // A job that is dead holds nobody up.
    let dead = "UPDATE control.jobs SET state = 'dead', finished_at = now() WHERE kind = 'tenants.export'";
    run(&mut app.db.connect("postgres").await, dead).await;
    ada.client.post(&path, &json!({})).await.expect(202);
    assert_eq!(ada.client.get(ready).await.expect(200)["status"], "failed");
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke_off() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let ready = export(&ada.client, ada.tenant).await;
    let path = format!("{ready}/download");
    let whole = ada.client.get(&path).await;
    let (len, etag) = (whole.text.len(), whole.headers["etag"].to_str().unwrap().to_owned());
    assert_eq!(whole.headers["content-length"], len.to_string().as_str());
    assert_eq!(ada.client.get(&ready).await.expect(200)["bytes"], len);
    let from = |range: String| ada.client.with_header("range", range);
    let first = from("bytes=0-999".into()).get(&path).await;
    let rest = from("bytes=1000-".into())
        .with_header("if-range", &etag)
        .get(&path)
        .await;
    assert_eq!((first.status.as_u16(), rest.status.as_u16()), (206, 206));
    assert_eq!(
        rest.headers["content-range"],
        format!("bytes 1000-{}/{len}", len - 1).as_str()
    );
    assert_eq!(format!("{}{}", first.text, rest.text), whole.text);
    let other = from("bytes=1000-".into())
        .with_header("if-range", "\"other\"")
        .get(&path)
        .await;
    assert_eq!((other.status.as_u16(), other.text), (200, whole.text));
    let behind = from(format!("bytes={len}-")).get(&path).await;
    behind.expect_problem(416, "range_not_satisfiable");
    assert_eq!(behind.headers["content-range"], format!("bytes */{len}").as_str());
}

/// Rows that come while the archive is written are in none of its tables.
#[tokio::test]
async fn all_tables_are_of_the_same_moment() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let mut admin = app.db.look_into(ada.tenant).await;
    let mut gate = admin.begin().await.unwrap();
    run(&mut gate, "LOCK TABLE roles IN ACCESS EXCLUSIVE MODE").await;
    let path = format!("/api/v1/tenants/{}/export", ada.tenant);
    let asked = ada.client.post(&path, &json!({})).await;
    let path = asked.headers["location"].to_str().unwrap().to_owned();
    until_blocked(&app, &mut gate).await;
    run(
        &mut gate,
        "INSERT INTO roles (id, name, description, is_system) VALUES (gen_random_uuid(), 'late', '', false); \
         INSERT INTO role_permissions (role_id, permission) SELECT id, 'vm:read' FROM roles WHERE name = 'late'; \
         INSERT INTO member_roles (identity_id, role_id) SELECT m.identity_id, r.id FROM members AS m, roles AS r \
         WHERE r.name = 'late'",
    )
    .await;
    gate.commit().await.unwrap();
    eventually("the archive is written", async || {
        (ada.client.get(&path).await.expect(200)["status"] == "ready").then_some(())
    })
    .await;
    let mut archive = Forged::of(&download(&ada.client, &path).await);
    let roles = String::from_utf8(archive.table("roles").clone()).unwrap();
    let grants = String::from_utf8(archive.table("member_roles").clone()).unwrap();
    assert!(!roles.contains("late"), "{roles}");
    assert_eq!((roles.lines().count(), grants.lines().count()), (4, 1));
}

#[tokio::test]
async fn the_archive_is_a_tar_file_to_everybody() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let archive = download(&ada.client, &export(&ada.client, ada.tenant).await).await;
    let folder = app.archives.join("unpacked");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("a.tar"), archive).unwrap();
    let script = "tar -xf a.tar && sha256sum -c manifest.json.sha256 && ls tables control";
    let unpacked = tokio::process::Command::new("sh")
        .args(["-c", script])
        .current_dir(&folder)
        .output();
    let unpacked = unpacked.await.unwrap();
    let said = String::from_utf8(unpacked.stdout).unwrap();
    assert!(
        unpacked.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&unpacked.stderr)
    );
    assert!(said.contains("manifest.json: OK") && said.contains("members.copy") && said.contains("memberships.jsonl"));
}

/// Every table of `control` that knows tenants is in archives, or on the list that says why not.
#[tokio::test]
async fn no_shared_table_is_forgotten() {
    use bulkhead_tenants::archives::{EXPORTED, NOT_EXPORTED};
    let test = crate::harness::TestDb::new().await;
    let known = sqlx::query_scalar!(
        r#"
        SELECT c.relname::text AS "name!"
        FROM pg_class AS c
                 JOIN pg_attribute AS a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'control'::regnamespace
          AND c.relkind IN ('r', 'p')
          AND a.attname = 'tenant_id'
          AND NOT a.attisdropped
        ORDER BY c.relname
        "#
    )
    .fetch_all(&mut test.connect("postgres").await)
    .await
    .unwrap();
    let mut listed: Vec<&str> = EXPORTED
        .iter()
        .copied()
        .chain(NOT_EXPORTED.iter().map(|(table, _)| *table))
        .collect();
    listed.sort_unstable();
    assert_eq!(
        known, listed,
        "a table with tenant_id is neither exported nor on the list that says why not"
    );
}
