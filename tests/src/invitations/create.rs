//! Inviting.

use bulkhead_kernel::ids::RoleId;
use serde_json::{Value, json};

use super::{Scene, text};
use crate::harness::{Client, Relay};

const PATH: &str = "/api/v1/invitations";

fn pointers(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().unwrap();
    errors.iter().map(|error| text(error, "pointer")).collect()
}

#[tokio::test]
async fn an_invitation_that_breaks_a_rule_is_refused_with_every_place() {
    let scene = Scene::new().await;
    let ada = &scene.ada.client;
    let member = scene.role("member").await;
    for (body, places) in [
        (
            json!({ "email": "bob", "role_ids": [], "expires_in_days": 31 }),
            vec!["/email", "/role_ids", "/expires_in_days"],
        ),
        (
            json!({ "email": "bob@example.com", "role_ids": [member, member, "owner"] }),
            vec!["/role_ids/1", "/role_ids/2"],
        ),
        (
            json!({ "email": "bob@example.com", "role_ids": [member, RoleId::new()] }),
            vec!["/role_ids/1"],
        ),
        (
            json!({ "email": "bob@example.com", "role_ids": [member], "expires_in_days": 0 }),
            vec!["/expires_in_days"],
        ),
        (
            json!({ "email": "bob@example.com", "role_ids": [member], "token": "x" }),
            vec!["/token"],
        ),
    ] {
        let problem = ada.post(PATH, &body).await.expect_problem(422, "validation");
        assert_eq!(pointers(&problem), places, "{body}");
    }
    let refused = ada.get(&format!("{PATH}?status=open")).await;
    assert_eq!(pointers(&refused.expect_problem(422, "validation")), ["status"]);
    assert_eq!(ada.get(PATH).await.expect(200)["total"], 0);
}

#[tokio::test]
async fn each_call_needs_its_permission() {
    let scene = Scene::new().await;
    let (path, _) = scene.invited("bob@example.com", "viewer").await;
    let carl = scene.join("carl@example.com", "member").await.client;
    let wanted = json!({ "email": "dora@example.com", "role_ids": [scene.role("viewer").await] });
    let changed = json!({ "role_ids": [scene.role("viewer").await] });
    for client in [&carl, &scene.app.client] {
        let answers = [
            client.post(PATH, &wanted).await,
            client.get(PATH).await,
            client.get(&path).await,
            super::patch(client, &path, &changed).await,
            super::resend(client, &path).await,
            client.delete(&path).await,
        ];
        let is_anonymous = std::ptr::eq(client, &scene.app.client);
        for answer in answers {
            if is_anonymous {
                answer.expect_problem(401, "unauthenticated");
            } else {
                answer.expect_problem(403, "forbidden");
            }
        }
    }
    assert_eq!(scene.ada.client.get(&path).await.expect(200)["status"], "pending");
}

#[tokio::test]
async fn one_invitation_waits_for_an_address_and_members_are_not_invited() {
    let scene = Scene::new().await;
    let ada = &scene.ada.client;
    let role = scene.role("viewer").await;
    let wanted = |email: &str| json!({ "email": email, "role_ids": [role] });
    let first = ada.post(PATH, &wanted("bob@example.com")).await.expect(201);
    let again = ada.post(PATH, &wanted(" Bob@Example.COM")).await;
    again.expect_problem(409, "already_invited");
    let member = ada.post(PATH, &wanted(&scene.ada.email)).await;
    member.expect_problem(409, "already_member");

    // One that has expired stands in nobody's way, and is over for good once a newer one took its place.
    scene.run("UPDATE invitations SET expires_at = now()").await;
    let second = ada.post(PATH, &wanted("bob@example.com")).await.expect(201);
    let path = format!("{PATH}/{}", text(&first, "id"));
    assert_eq!(ada.get(&path).await.expect(200)["status"], "expired");
    super::resend(ada, &path).await.expect_problem(409, "invitation_closed");
    let path = format!("{PATH}/{}", text(&second, "id"));
    ada.delete(&path).await.expect(204);
    ada.post(PATH, &wanted("bob@example.com")).await.expect(201);
}

#[tokio::test]
async fn no_more_than_the_limit_wait_at_a_time() {
    let limit = vec![("BULKHEAD__TENANTS__MAX_PENDING_INVITATIONS", "2".to_owned())];
    let scene = Scene::with(Relay::start().await, limit).await;
    let ada = &scene.ada.client;
    let role = scene.role("viewer").await;
    let wanted = |email: &str| json!({ "email": email, "role_ids": [role] });
    let first = ada.post(PATH, &wanted("a@example.com")).await.expect(201);
    ada.post(PATH, &wanted("b@example.com")).await.expect(201);
    let over = ada.post(PATH, &wanted("c@example.com")).await;
    let problem = over.expect_problem(403, "quota_exceeded");
    assert!(text(&problem, "detail").contains('2'), "{problem}");
    ada.delete(&format!("{PATH}/{}", text(&first, "id"))).await.expect(204);
    ada.post(PATH, &wanted("c@example.com")).await.expect(201);
    scene
        .run("UPDATE invitations SET expires_at = now() WHERE email = 'b@example.com'")
        .await;
    ada.post(PATH, &wanted("d@example.com")).await.expect(201);
}

#[tokio::test]
async fn an_invitation_tells_nothing_of_accounts_and_no_secret() {
    let scene = Scene::new().await;
    scene.app.register("known@example.com").await;
    let told = |mut invitation: Value| {
        for own in ["id", "email", "created_at", "expires_at"] {
            invitation.as_object_mut().unwrap().remove(own).unwrap();
        }
        invitation
    };
    let known = scene.invite("known@example.com", "member").await;
    let unknown = scene.invite("nobody@example.com", "member").await;
    assert_eq!(told(known), told(unknown));
    let token = scene.token("known@example.com", 0).await;
    let secret = super::secret(&token);
    let list = scene.ada.client.get(PATH).await;
    list.expect(200);
    assert!(
        !list.text.contains(secret) && !list.text.contains("hash"),
        "{}",
        list.text
    );
}

#[tokio::test]
async fn invitations_are_listed_by_status_and_address_the_newest_first() {
    let scene = Scene::new().await;
    let ada = &scene.ada.client;
    scene.join("accepted@example.com", "member").await;
    let (revoked, _) = scene.invited("revoked@example.com", "viewer").await;
    ada.delete(&revoked).await.expect(204);
    scene.invite("expired@example.com", "viewer").await;
    scene
        .run("UPDATE invitations SET expires_at = now() WHERE email = 'expired@example.com'")
        .await;
    let pending = scene.invite("pending@example.com", "admin").await;
    assert_eq!(
        pending["roles"],
        json!([{ "id": scene.role("admin").await, "name": "admin" }])
    );
    assert_eq!(pending["invited_by"], pending["granted_by"]);

    let emails = async |client: &Client, query: &str| {
        let list = client.get(&format!("{PATH}{query}")).await.expect(200);
        let items = list["items"].as_array().unwrap();
        let emails: Vec<_> = items.iter().map(|item| text(item, "email").to_owned()).collect();
        (emails, list["total"].clone())
    };
    for status in ["pending", "accepted", "revoked", "expired"] {
        let found = emails(ada, &format!("?status={status}")).await;
        assert_eq!(found, (vec![format!("{status}@example.com")], json!(1)));
    }
    let (all, total) = emails(ada, "?limit=3").await;
    assert_eq!(
        all,
        ["pending@example.com", "expired@example.com", "revoked@example.com"]
    );
    assert_eq!(total, 4);
    assert_eq!(emails(ada, "?limit=3&page=2").await.0, ["accepted@example.com"]);

    // Part of the address, taken literally, beside the status.
    assert_eq!(emails(ada, "?search=ED@Example").await.1, json!(3));
    assert_eq!(
        emails(ada, "?search=ed@example&status=revoked").await.0,
        ["revoked@example.com"]
    );
    assert_eq!(emails(ada, "?search=%25").await, (vec![], json!(0)));
    let refused = ada.get(&format!("{PATH}?search=%00")).await;
    assert_eq!(pointers(&refused.expect_problem(422, "validation")), ["search"]);

    let path = format!("{PATH}/{}", text(&pending, "id"));
    let answer = ada.get(&path).await;
    assert_eq!(answer.expect(200), pending);
    assert_eq!(answer.headers["etag"], "\"1\"");
}

#[tokio::test]
async fn a_week_is_usual_and_another_time_can_be_said() {
    let scene = Scene::new().await;
    let role = scene.role("viewer").await;
    for (days, expected) in [(Value::Null, 7), (json!(1), 1), (json!(30), 30)] {
        let wanted =
            json!({ "email": format!("d{expected}@example.com"), "role_ids": [role], "expires_in_days": days });
        let answer = scene.ada.client.post(PATH, &wanted).await;
        let made = answer.expect(201);
        assert_eq!(answer.headers["location"], format!("{PATH}/{}", text(&made, "id")));
        let at = |field| text(&made, field).parse::<chrono::DateTime<chrono::Utc>>().unwrap();
        assert_eq!((at("expires_at") - at("created_at")).num_days(), expected);
    }
}
