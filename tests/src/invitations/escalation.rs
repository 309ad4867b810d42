//! Nobody invites to more than they hold, on no path.

use serde_json::json;

use super::{Scene, accept, patch, resend, text};

const PATH: &str = "/api/v1/invitations";

#[tokio::test]
async fn an_admin_invites_no_owner_by_creating_changing_or_resending() {
    let scene = Scene::new().await;
    let carl = scene.join("carl@example.com", "admin").await.client;
    let (owner, admin) = (scene.role("owner").await, scene.role("admin").await);
    let wanted = |role: &str| json!({ "email": "bob@example.com", "role_ids": [role] });
    let refused = carl.post(PATH, &wanted(&owner)).await;
    let problem = refused.expect_problem(403, "forbidden");
    assert!(text(&problem, "detail").contains("tenant:delete"), "{problem}");
    let made = carl.post(PATH, &wanted(&admin)).await.expect(201);
    let own = format!("{PATH}/{}", text(&made, "id"));
    let both = json!({ "role_ids": [admin, owner] });
    patch(&carl, &own, &both).await.expect_problem(403, "forbidden");
    assert_eq!(
        carl.get(&own).await.expect(200)["roles"],
        json!([{ "id": admin, "name": "admin" }])
    );

    let (owners, old) = scene.invited("dora@example.com", "owner").await;
    resend(&carl, &owners).await.expect_problem(403, "forbidden");
    scene.lookup(&old).await.expect(200);
    carl.delete(&owners).await.expect(204);
}

#[tokio::test]
async fn a_role_of_the_tenants_own_is_judged_by_what_it_allows() {
    let scene = Scene::new().await;
    scene
        .make_role(
            "inviter",
            &["invitation:create", "invitation:update", "invitation:read", "vm:read"],
        )
        .await;
    let reader = scene.make_role("reader", &["vm:read"]).await;
    let deleter = scene.make_role("deleter", &["vm:read", "vm:delete"]).await;
    let carl = scene.join("carl@example.com", "inviter").await.client;
    let wanted = |role: &str| json!({ "email": "bob@example.com", "role_ids": [role] });
    carl.post(PATH, &wanted(&deleter))
        .await
        .expect_problem(403, "forbidden");
    carl.post(PATH, &wanted(&reader)).await.expect(201);
    let token = scene.token("bob@example.com", 0).await;

    // The role has become more than its granter holds.
    scene
        .run("INSERT INTO role_permissions SELECT id, 'vm:delete' FROM roles WHERE name = 'reader'")
        .await;
    scene
        .accept_new(&token)
        .await
        .expect_problem(409, "invitation_not_backed");
    scene.run("DELETE FROM role_permissions WHERE permission = 'vm:delete' AND role_id = (SELECT id FROM roles WHERE name = 'reader')").await;
    scene.accept_new(&token).await.expect(200);
}

#[tokio::test]
async fn an_inviter_who_was_demoted_removed_or_kept_out_lets_nobody_in() {
    let scene = Scene::new().await;
    let carl = scene.join("carl@example.com", "admin").await.client;
    let bob = scene.person("bob@example.com", true).await;
    let wanted = |email: &str, role: &str| json!({ "email": email, "role_ids": [role] });
    let (viewer, admin) = (scene.role("viewer").await, scene.role("admin").await);
    let made = carl.post(PATH, &wanted("bob@example.com", &viewer)).await.expect(201);
    carl.post(PATH, &wanted("dora@example.com", &admin)).await.expect(201);
    let (bobs, doras) = (
        scene.token("bob@example.com", 0).await,
        scene.token("dora@example.com", 0).await,
    );

    for (undo, redo) in [
        (
            // Holds all that a viewer does, and may invite nobody any more.
            "UPDATE member_roles SET role_id = (SELECT id FROM roles WHERE name = 'member') \
             WHERE role_id = (SELECT id FROM roles WHERE name = 'admin')",
            "UPDATE member_roles SET role_id = (SELECT id FROM roles WHERE name = 'admin') \
             WHERE role_id = (SELECT id FROM roles WHERE name = 'member')",
        ),
        (
            "UPDATE members SET status = 'inactive' WHERE email = 'carl@example.com'",
            "UPDATE members SET status = 'active' WHERE email = 'carl@example.com'",
        ),
        ("DELETE FROM members WHERE email = 'carl@example.com'", "SELECT 1"),
    ] {
        scene.run(undo).await;
        accept(&bob, &bobs).await.expect_problem(409, "invitation_not_backed");
        scene
            .accept_new(&doras)
            .await
            .expect_problem(409, "invitation_not_backed");
        scene.run(redo).await;
    }
    assert_eq!(scene.count("SELECT count(*) FROM members").await, 1);

    // Somebody who may give it answers for it now.
    let path = format!("{PATH}/{}", text(&made, "id"));
    let resent = resend(&scene.ada.client, &path).await.expect(200);
    assert_ne!(resent["granted_by"], resent["invited_by"]);
    let token = scene.token("bob@example.com", 1).await;
    assert_eq!(scene.lookup(&token).await.expect(200)["inviter"], "Ada Lovelace");
    accept(&bob, &token).await.expect(200);
}

#[tokio::test]
async fn whoever_changes_an_invitation_answers_for_it() {
    let scene = Scene::new().await;
    let carl = scene.join("carl@example.com", "admin").await.client;
    let (path, token) = scene.invited("bob@example.com", "viewer").await;
    let changed = json!({ "role_ids": [scene.role("admin").await] });
    patch(&carl, &path, &changed).await.expect(200);
    scene.run("DELETE FROM members WHERE email = 'carl@example.com'").await;
    scene
        .accept_new(&token)
        .await
        .expect_problem(409, "invitation_not_backed");
    patch(&scene.ada.client, &path, &changed).await.expect(200);
    scene.accept_new(&token).await.expect(200);
}

#[tokio::test]
async fn somebody_who_holds_more_than_the_inviter_is_not_brought_back_by_them() {
    let scene = Scene::new().await;
    let carl = scene.join("carl@example.com", "admin").await.client;
    let bob = scene.join("bob@example.com", "owner").await.client;
    scene
        .run("UPDATE members SET status = 'inactive' WHERE email = 'bob@example.com'")
        .await;
    let wanted = json!({ "email": "bob@example.com", "role_ids": [scene.role("viewer").await] });
    carl.post(PATH, &wanted).await.expect(201);
    let token = scene.token("bob@example.com", 1).await;
    accept(&bob, &token).await.expect_problem(409, "invitation_not_backed");
}
