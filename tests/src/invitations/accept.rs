//! Accepting.

use bulkhead_kernel::ids::{InvitationId, TenantId};
use serde_json::json;

use super::{Scene, accept, text};
use crate::harness::{Answer, PASSWORD, run};

/// The answer without what differs in every one.
fn told(answer: &Answer) -> (u16, String) {
    let instance = answer.json()["instance"].as_str().unwrap().to_owned();
    (answer.status.as_u16(), answer.text.replace(&instance, ""))
}

#[tokio::test]
async fn somebody_new_follows_the_link_and_is_a_verified_member() {
    let scene = Scene::new().await;
    let (_, token) = scene.invited("Bob@Example.com", "member").await;
    let offer = scene.lookup(&token).await.expect(200);
    for (field, value) in [
        ("org_slug", json!("acme")),
        ("org_id", json!(scene.ada.tenant)),
        ("email", json!("bob@example.com")),
        ("roles", json!(["member"])),
        ("inviter", json!("Ada Lovelace")),
        ("has_account", json!(false)),
    ] {
        assert_eq!(offer[field], value, "{field}");
    }
    let accepted = scene.accept_new(&token).await.expect(200);
    assert_eq!(accepted["roles"], json!(["member"]));

    let bob = scene.app.enter("bob@example.com", scene.ada.tenant).await;
    let me = bob.client.get("/api/v1/users/me").await.expect(200);
    assert_eq!((&me["id"], &me["roles"]), (&accepted["user_id"], &json!(["member"])));
    assert_eq!((text(&me, "first_name"), text(&me, "last_name")), ("Bob", "Babbage"));
    let mine = bob.client.get("/api/v1/tenants").await.expect(200);
    assert_eq!((text(&mine[0], "slug"), text(&mine[0], "role")), ("acme", "member"));
    bob.client.get("/api/v1/vms").await.expect(200);
    let is_verified: bool = sqlx::query_scalar(
        "SELECT email_verified_at IS NOT NULL FROM control.identities WHERE email = 'bob@example.com'",
    )
    .fetch_one(&mut scene.app.db.connect("postgres").await)
    .await
    .unwrap();
    assert!(is_verified);
    scene.accept_new(&token).await.expect_problem(410, "invitation_used");
    scene.lookup(&token).await.expect_problem(410, "invitation_used");
}

#[tokio::test]
async fn somebody_with_an_account_accepts_signed_in() {
    let scene = Scene::new().await;
    let bob = scene.person("bob@example.com", true).await;
    let (_, token) = scene.invited("bob@example.com", "admin").await;
    assert_eq!(scene.lookup(&token).await.expect(200)["has_account"], true);
    scene.accept_new(&token).await.expect_problem(409, "account_exists");
    let surplus = json!({ "token": token, "password": PASSWORD, "last_name": "Babbage" });
    let refused = bob.post("/api/v1/invitations/accept", &surplus).await;
    let errors = refused.expect_problem(422, "validation")["errors"].clone();
    assert_eq!(
        (text(&errors[0], "pointer"), text(&errors[1], "pointer")),
        ("/password", "/last_name")
    );
    assert_eq!(accept(&bob, &token).await.expect(200)["roles"], json!(["admin"]));
    accept(&bob, &token).await.expect_problem(410, "invitation_used");
    let entered = scene.app.enter("bob@example.com", scene.ada.tenant).await;
    entered.client.get("/api/v1/users").await.expect(200);
}

#[tokio::test]
async fn nobody_but_the_verified_owner_of_the_address_accepts() {
    let scene = Scene::new().await;
    let (_, token) = scene.invited("bob@example.com", "owner").await;
    let eve = scene.person("eve@example.com", true).await;
    accept(&eve, &token)
        .await
        .expect_problem(403, "invitation_email_mismatch");
    accept(&scene.ada.client, &token)
        .await
        .expect_problem(403, "invitation_email_mismatch");
    let squatter = scene.person("bob@example.com", false).await;
    accept(&squatter, &token).await.expect_problem(403, "email_unverified");
    scene.accept_new(&token).await.expect_problem(409, "account_exists");
    let broken = scene.app.client.with_token("x.y.z");
    accept(&broken, &token).await.expect_problem(401, "token_invalid");
    assert_eq!(scene.count("SELECT count(*) FROM members").await, 1);
    assert_eq!(scene.lookup(&token).await.expect(200)["email"], "bob@example.com");
}

#[tokio::test]
async fn a_new_account_needs_a_good_password_and_names_and_a_refusal_leaves_nothing() {
    let scene = Scene::new().await;
    let (_, token) = scene.invited("bob@example.com", "member").await;
    let refused = accept(&scene.app.client, &token).await;
    let errors = refused.expect_problem(422, "validation")["errors"].clone();
    let pointers: Vec<_> = errors
        .as_array()
        .unwrap()
        .iter()
        .map(|error| text(error, "pointer"))
        .collect();
    assert_eq!(pointers, ["/password", "/first_name", "/last_name"]);
    let weak = json!({ "token": token, "password": "bob@example.com", "first_name": "B", "last_name": "B" });
    let refused = scene.app.client.post("/api/v1/invitations/accept", &weak).await;
    refused.expect_problem(422, "validation");
    let n_people = "SELECT count(*) FROM control.identities WHERE email = 'bob@example.com'";
    assert_eq!(scene.count(n_people).await, 0);
    // What stands against the member stands against the person.
    scene.run("UPDATE invitations SET granted_by = gen_random_uuid()").await;
    scene
        .accept_new(&token)
        .await
        .expect_problem(409, "invitation_not_backed");
    assert_eq!(scene.count(n_people).await, 0);
}

#[tokio::test]
async fn what_is_no_genuine_token_is_told_to_be_no_invitation() {
    let scene = Scene::new().await;
    let bolt = scene.app.founder("bolt").await;
    let (_, token) = scene.invited("bob@example.com", "member").await;
    let parts: Vec<&str> = token.splitn(4, '_').collect();
    let [inv, id, tenant, secret] = parts[..] else {
        panic!("{token}")
    };
    let hex = |id: String| id.split('_').nth(1).unwrap().to_owned();
    let other = "A".repeat(22);
    let no_invitation = hex(InvitationId::new().to_string());
    let (no_tenant, bolt) = (hex(TenantId::new().to_string()), hex(bolt.tenant.to_string()));
    let wrong = [
        format!("{inv}_{id}_{tenant}_{other}"),
        format!("{inv}_{no_invitation}_{tenant}_{secret}"),
        format!("{inv}_{id}_{no_tenant}_{secret}"),
        format!("{inv}_{id}_{bolt}_{secret}"),
        format!("{inv}_{id}_{tenant}"),
        "nonsense".into(),
        String::new(),
    ];
    let bob = scene.person("bob@example.com", true).await;
    let mut answers = Vec::new();
    for token in &wrong {
        for answer in [
            scene.lookup(token).await,
            scene.accept_new(token).await,
            accept(&bob, token).await,
        ] {
            answer.expect_problem(404, "invitation_invalid");
            answers.push(told(&answer));
        }
    }
    // Neither do those learn more who know what became of the invitation, but not the secret.
    scene.run("UPDATE invitations SET expires_at = now()").await;
    answers.push(told(&scene.lookup(&wrong[0]).await));
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    scene.lookup(&token).await.expect_problem(410, "invitation_expired");
}

#[tokio::test]
async fn a_copy_of_the_row_elsewhere_opens_nothing() {
    let scene = Scene::new().await;
    let bolt = scene.app.founder("bolt").await;
    let (_, token) = scene.invited("bob@example.com", "member").await;
    let schema = |tenant| bulkhead_tenancy::SchemaName::from(tenant);
    let (from, to) = (schema(scene.ada.tenant), schema(bolt.tenant));
    let copy = format!("INSERT INTO {to}.invitations SELECT * FROM {from}.invitations");
    run(&mut scene.app.db.connect("postgres").await, &copy).await;
    let tenant = |id: TenantId| id.uuid().simple().to_string();
    let moved = token.replace(&tenant(scene.ada.tenant), &tenant(bolt.tenant));
    assert_ne!(moved, token);
    scene.lookup(&moved).await.expect_problem(404, "invitation_invalid");
    scene.lookup(&token).await.expect(200);
}

#[tokio::test]
async fn a_closed_tenant_lets_nobody_in() {
    let scene = Scene::new().await;
    let operator = scene.app.operator().await;
    let (_, token) = scene.invited("bob@example.com", "member").await;
    let path = |verb| format!("/api/v1/tenants/{}/{verb}", scene.ada.tenant);
    let suspend = async |mode: &str| {
        let wanted = json!({ "mode": mode, "reason": "unpaid" });
        operator.post(&path("suspend"), &wanted).await.expect(200);
    };
    suspend("full").await;
    for answer in [scene.lookup(&token).await, scene.accept_new(&token).await] {
        answer.expect_problem(404, "invitation_invalid");
    }
    suspend("read_only").await;
    scene.lookup(&token).await.expect(200);
    scene.accept_new(&token).await.expect_problem(403, "tenant_read_only");
    operator.post(&path("resume"), &json!({})).await.expect(200);
    let tenant = format!("/api/v1/tenants/{}", scene.ada.tenant);
    scene.ada.client.delete(&tenant).await.expect(202);
    scene.accept_new(&token).await.expect_problem(404, "invitation_invalid");
    operator.post(&path("restore"), &json!({})).await.expect(200);
    scene.accept_new(&token).await.expect(200);
}

#[tokio::test]
async fn a_member_who_was_kept_out_comes_back_by_an_invitation_and_an_active_one_does_not_need_it() {
    let scene = Scene::new().await;
    let bob = scene.join("bob@example.com", "viewer").await;
    scene
        .run("UPDATE members SET status = 'inactive' WHERE email = 'bob@example.com'")
        .await;
    let (_, first) = scene.invited("bob@example.com", "member").await;
    let token = scene.token("bob@example.com", 1).await;
    assert_ne!(first, token);
    assert_eq!(
        accept(&bob.client, &token).await.expect(200)["roles"],
        json!(["member", "viewer"])
    );
    scene
        .run("UPDATE members SET status = 'inactive' WHERE email = 'bob@example.com'")
        .await;
    scene.invite("bob@example.com", "member").await;
    scene
        .run("UPDATE members SET status = 'active' WHERE email = 'bob@example.com'")
        .await;
    let token = scene.token("bob@example.com", 2).await;
    accept(&bob.client, &token).await.expect_problem(409, "already_member");
}
