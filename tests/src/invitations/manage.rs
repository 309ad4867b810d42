//! Changing, resending and revoking.

use http::Method;
use serde_json::json;

use super::{Scene, accept, patch, resend, text};

#[tokio::test]
async fn a_resend_kills_the_old_link_and_the_new_one_works() {
    let scene = Scene::new().await;
    let (path, old) = scene.invited("bob@example.com", "viewer").await;
    scene.lookup(&old).await.expect(200);
    let resent = resend(&scene.ada.client, &path).await.expect(200);
    assert_eq!(resent["status"], "pending");
    for answer in [scene.lookup(&old).await, scene.accept_new(&old).await] {
        answer.expect_problem(404, "invitation_invalid");
    }
    let new = scene.token("bob@example.com", 1).await;
    assert_ne!(old, new);
    scene.lookup(&old).await.expect_problem(404, "invitation_invalid");
    scene.accept_new(&new).await.expect(200);
    for (answer, old) in [(scene.lookup(&new).await, false), (scene.lookup(&old).await, true)] {
        if old {
            answer.expect_problem(404, "invitation_invalid");
        } else {
            answer.expect_problem(410, "invitation_used");
        }
    }
}

#[tokio::test]
async fn an_expired_invitation_waits_again_once_it_is_resent() {
    let scene = Scene::new().await;
    let (path, old) = scene.invited("bob@example.com", "viewer").await;
    scene.run("UPDATE invitations SET expires_at = now()").await;
    scene.lookup(&old).await.expect_problem(410, "invitation_expired");
    scene.accept_new(&old).await.expect_problem(410, "invitation_expired");
    let changed = json!({ "role_ids": [scene.role("member").await] });
    let refused = patch(&scene.ada.client, &path, &changed).await;
    let problem = refused.expect_problem(409, "invitation_closed");
    assert!(text(&problem, "detail").contains("expired"), "{problem}");
    resend(&scene.ada.client, &path).await.expect(200);
    let new = scene.token("bob@example.com", 1).await;
    scene.accept_new(&new).await.expect(200);
}

#[tokio::test]
async fn what_is_accepted_or_revoked_stays_so() {
    let scene = Scene::new().await;
    let ada = &scene.ada.client;
    let (accepted, token) = scene.invited("bob@example.com", "viewer").await;
    scene.accept_new(&token).await.expect(200);
    let (revoked, token) = scene.invited("carl@example.com", "viewer").await;
    ada.delete(&revoked).await.expect(204);
    scene.lookup(&token).await.expect_problem(410, "invitation_revoked");
    scene.accept_new(&token).await.expect_problem(410, "invitation_revoked");
    let changed = json!({ "role_ids": [scene.role("member").await] });
    for path in [&accepted, &revoked] {
        patch(ada, path, &changed)
            .await
            .expect_problem(409, "invitation_closed");
        resend(ada, path).await.expect_problem(409, "invitation_closed");
    }
    ada.delete(&accepted).await.expect_problem(409, "invitation_closed");
    ada.delete(&revoked).await.expect(204);
    assert_eq!(ada.get(&accepted).await.expect(200)["status"], "accepted");
    assert_eq!(
        scene
            .count("SELECT count(*) FROM audit_events WHERE action = 'invitation.revoke'")
            .await,
        1
    );
}

#[tokio::test]
async fn changed_roles_are_what_the_link_in_the_mail_gives() {
    let scene = Scene::new().await;
    let (path, token) = scene.invited("bob@example.com", "viewer").await;
    let changed = json!({ "role_ids": [scene.role("member").await, scene.role("admin").await] });
    let client = scene.ada.client.with_header("if-match", "\"1\"");
    let answer = patch(&client, &path, &changed).await;
    let roles = answer.expect(200)["roles"].clone();
    assert_eq!((text(&roles[0], "name"), text(&roles[1], "name")), ("admin", "member"));
    assert_eq!(answer.headers["etag"], "\"2\"");
    patch(&client, &path, &changed)
        .await
        .expect_problem(412, "precondition_failed");
    assert_eq!(
        scene.accept_new(&token).await.expect(200)["roles"],
        json!(["admin", "member"])
    );
}

#[tokio::test]
async fn a_role_that_is_gone_fails_the_invitation_in_so_many_words() {
    let scene = Scene::new().await;
    let role = scene.make_role("auditor", &["vm:read"]).await;
    let (path, token) = scene.invited("bob@example.com", "auditor").await;
    scene.run("DELETE FROM roles WHERE name = 'auditor'").await;
    scene
        .accept_new(&token)
        .await
        .expect_problem(409, "invitation_role_gone");
    let bob = scene.person("carl@example.com", true).await;
    scene.run("UPDATE invitations SET email = 'carl@example.com'").await;
    accept(&bob, &token).await.expect_problem(409, "invitation_role_gone");
    resend(&scene.ada.client, &path)
        .await
        .expect_problem(409, "invitation_role_gone");
    let shown = scene.ada.client.get(&path).await.expect(200);
    assert_eq!(shown["roles"], json!([{ "id": role }]));
    assert_eq!(scene.count("SELECT count(*) FROM members").await, 1);
    let changed = json!({ "role_ids": [scene.role("viewer").await] });
    patch(&scene.ada.client, &path, &changed).await.expect(200);
    accept(&bob, &token).await.expect(200);
}

#[tokio::test]
async fn every_step_is_in_the_record_without_an_address() {
    let scene = Scene::new().await;
    let (path, _) = scene.invited("bob@example.com", "viewer").await;
    let changed = json!({ "role_ids": [scene.role("member").await] });
    patch(&scene.ada.client, &path, &changed).await.expect(200);
    resend(&scene.ada.client, &path).await.expect(200);
    let token = scene.token("bob@example.com", 1).await;
    scene.accept_new(&token).await.expect(200);
    let (second, _) = scene.invited("carl@example.com", "viewer").await;
    scene.ada.client.send(Method::DELETE, &second, "", "").await.expect(204);
    let mut connection = scene.app.db.look_into(scene.ada.tenant).await;
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT row_to_json(e)::text FROM audit_events AS e WHERE action LIKE 'invitation.%' ORDER BY occurred_at",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let actions: Vec<_> = rows
        .iter()
        .map(|row| serde_json::from_str::<serde_json::Value>(row).unwrap()["action"].clone())
        .collect();
    let expected =
        ["create", "update", "resend", "accept", "create", "revoke"].map(|verb| format!("invitation.{verb}"));
    assert_eq!(actions, expected.map(serde_json::Value::from));
    assert!(rows.iter().all(|row| !row.contains("@example.com")), "{rows:?}");
    assert!(rows[3].contains("\"usr_") && rows[3].contains("member"), "{}", rows[3]);
}
