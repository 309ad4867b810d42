//! Many at once.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::json;

use super::{Scene, accept, resend};
use crate::harness::{Answer, Relay};

async fn patient() -> Scene {
    let patience = vec![
        ("BULKHEAD__DATABASE__ACQUIRE_TIMEOUT_MS", "30000".to_owned()),
        ("BULKHEAD__AUTH__LINK_CALLS_PER_LINK", "1000".to_owned()),
        ("BULKHEAD__AUTH__LINK_CALLS_PER_ADDRESS", "1000".to_owned()),
    ];
    Scene::with(Relay::start().await, patience).await
}

/// How often each answer was given.
fn told(answers: &[Answer]) -> BTreeMap<String, usize> {
    let mut told = BTreeMap::new();
    for answer in answers {
        let code = answer.json()["code"].as_str().unwrap_or("ok").to_owned();
        *told.entry(code).or_default() += 1;
    }
    told
}

#[tokio::test]
async fn a_hundred_parallel_accepts_of_one_invitation_make_one_membership() {
    let scene = patient().await;
    let bob = scene.person("bob@example.com", true).await;
    let (_, token) = scene.invited("bob@example.com", "member").await;
    let answers = join_all((0..100).map(|_| accept(&bob, &token))).await;
    let expected = BTreeMap::from([("ok".into(), 1), ("invitation_used".into(), 99)]);
    assert_eq!(told(&answers), expected);
    for (rows, n) in [
        ("SELECT count(*) FROM members WHERE email = 'bob@example.com'", 1),
        ("SELECT count(*) FROM member_roles", 2),
        (
            "SELECT count(*) FROM audit_events WHERE action = 'invitation.accept'",
            1,
        ),
        ("SELECT count(*) FROM control.memberships", 2),
    ] {
        assert_eq!(scene.count(rows).await, n, "{rows}");
    }
}

#[tokio::test]
async fn a_hundred_parallel_new_people_are_one_identity_and_one_member() {
    let scene = patient().await;
    let (_, token) = scene.invited("bob@example.com", "member").await;
    let answers = join_all((0..100).map(|_| scene.accept_new(&token))).await;
    let told = told(&answers);
    assert_eq!(told["ok"], 1, "{told:?}");
    // Who came after the identity and before the end of the invitation is told of the account.
    let of_late = ["ok", "invitation_used", "account_exists"];
    assert!(told.keys().all(|code| of_late.contains(&code.as_str())), "{told:?}");
    for rows in [
        "SELECT count(*) FROM control.identities WHERE email = 'bob@example.com'",
        "SELECT count(*) FROM members WHERE email = 'bob@example.com'",
        "SELECT count(*) FROM control.memberships AS m JOIN control.identities AS i ON i.id = m.identity_id \
         WHERE i.email = 'bob@example.com'",
    ] {
        assert_eq!(scene.count(rows).await, 1, "{rows}");
    }
}

#[tokio::test]
async fn two_tenants_accepted_at_once_make_one_identity() {
    let scene = patient().await;
    let bolt = scene.app.founder("bolt").await;
    let (_, first) = scene.invited("bob@example.com", "member").await;
    let wanted = json!({ "email": "bob@example.com", "role_ids": [super::role(&scene.app, &bolt, "viewer").await] });
    bolt.client.post("/api/v1/invitations", &wanted).await.expect(201);
    let second = scene.token("bob@example.com", 1).await;
    let answers = join_all([&first, &second].map(|token| scene.accept_new(token))).await;
    let expected = BTreeMap::from([("ok".into(), 1), ("account_exists".into(), 1)]);
    assert_eq!(told(&answers), expected);
}

#[tokio::test]
async fn of_many_invitations_of_one_address_at_once_one_waits() {
    let scene = patient().await;
    let wanted = json!({ "email": "bob@example.com", "role_ids": [scene.role("viewer").await] });
    let answers = join_all((0..20).map(|_| scene.ada.client.post("/api/v1/invitations", &wanted))).await;
    let expected = BTreeMap::from([("ok".into(), 1), ("already_invited".into(), 19)]);
    assert_eq!(told(&answers), expected);
}

#[tokio::test]
async fn a_resend_and_accepts_of_the_old_link_leave_either_a_member_or_a_new_link() {
    let scene = patient().await;
    let (path, old) = scene.invited("bob@example.com", "viewer").await;
    let bob = scene.person("bob@example.com", true).await;
    let (resent, accepted) = tokio::join!(resend(&scene.ada.client, &path), accept(&bob, &old));
    match (resent.status.as_u16(), accepted.status.as_u16()) {
        (200, 404) => {
            let new = scene.token("bob@example.com", 1).await;
            accept(&bob, &new).await.expect(200);
        }
        (409, 200) => {}
        other => panic!("{other:?}: {} {}", resent.text, accepted.text),
    }
    assert_eq!(
        scene
            .count("SELECT count(*) FROM members WHERE email = 'bob@example.com'")
            .await,
        1
    );
}
