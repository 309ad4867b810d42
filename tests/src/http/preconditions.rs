//! `ETag` and `If-Match`: nobody overwrites what they have not seen.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, App, Client, Founder};

/// What can be changed or deleted without saying what was seen, with the reason.
const WITHOUT: [(&str, &str, &str); 2] = [
    ("patch", "/api/v1/users/me", "nobody else changes it"),
    ("delete", "/api/v1/tenants/{id}", "a grace and a dry run come before it"),
];

fn has_header(headers: &Value, name: &str) -> bool {
    headers
        .as_array()
        .into_iter()
        .flatten()
        .any(|header| header["name"] == name)
}

#[tokio::test]
async fn what_can_be_changed_shows_a_tag_and_its_changes_take_it() {
    let app = App::start().await;
    let document = app.client.get("/openapi.json").await.expect(200);
    let mut n_tagged = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        if item.get("patch").is_none() {
            continue;
        }
        for method in ["patch", "delete"] {
            let Some(operation) = item.get(method) else { continue };
            let is_left_out = WITHOUT.iter().any(|(verb, known, _)| *verb == method && *known == path);
            let takes_it = has_header(&operation["parameters"], "If-Match");
            assert_eq!(takes_it, !is_left_out, "{method} {path}");
            let codes = operation["x-problem-codes"].as_array().unwrap();
            assert_eq!(
                codes.contains(&json!("precondition_failed")),
                takes_it,
                "{method} {path}"
            );
        }
        if !WITHOUT.iter().any(|(verb, known, _)| *verb == "patch" && known == path) {
            for method in ["get", "patch"] {
                let shown = &item[method]["responses"]["200"]["headers"]["ETag"];
                assert!(shown.is_object(), "{method} {path} shows no tag");
            }
            n_tagged += 1;
        }
    }
    assert!(n_tagged >= 7, "{n_tagged}");
}

/// Things of every kind, each with two changes.
async fn things(ada: &Founder, role: &str) -> Vec<(String, Value, Value)> {
    let make = async |path: &str, body: Value| {
        let made = ada.client.post(&format!("/api/v1/{path}"), &body).await;
        let id = made.expect(201)["id"].as_str().unwrap().to_owned();
        let shown = ada.client.get(&format!("/api/v1/{path}/{id}")).await;
        assert_eq!(made.headers["etag"], shown.headers["etag"], "{path}");
        format!("/api/v1/{path}/{id}")
    };
    let user = |email: &str| json!({ "email": email, "first_name": "B", "last_name": "C" });
    let (first, second) = (json!({ "name": "first" }), json!({ "name": "second" }));
    let (one, other) = (json!({ "first_name": "One" }), json!({ "is_active": false }));
    let tenant_users = format!("tenants/{}/users", ada.tenant);
    let invitation = json!({ "email": "dora@example.com", "role_ids": [role] });
    let key = json!({ "name": "ci", "scopes": ["vm:read"] });
    vec![
        (make("users", user("bob@example.com")).await, one.clone(), other.clone()),
        (make(&tenant_users, user("carl@example.com")).await, one, other),
        (
            make("roles", json!({ "name": "Ops" })).await,
            first.clone(),
            second.clone(),
        ),
        (
            make("invitations", invitation).await,
            json!({ "role_ids": [role_of(ada, "admin").await] }),
            json!({ "role_ids": [role] }),
        ),
        (make("api-keys", key).await, first.clone(), second.clone()),
        (
            make("resources", json!({ "type": "disk", "name": "a" })).await,
            first.clone(),
            second.clone(),
        ),
        (
            format!("/api/v1/tenants/{}", ada.tenant),
            first,
            json!({ "settings": { "limit": 1e2 } }),
        ),
    ]
}

async fn role_of(ada: &Founder, name: &str) -> String {
    let roles = ada.client.get("/api/v1/roles").await.expect(200);
    let mut roles = roles.as_array().unwrap().iter();
    let found = roles.find(|role| role["name"] == name).unwrap();
    found["id"].as_str().unwrap().to_owned()
}

async fn patch(client: &Client, path: &str, body: &Value) -> Answer {
    client
        .send(Method::PATCH, path, "application/json", body.to_string())
        .await
}

#[tokio::test]
async fn a_change_of_what_has_changed_since_is_refused() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let viewer = role_of(&ada, "viewer").await;
    for (path, first, second) in things(&ada, &viewer).await {
        let seen = |tag: &str| ada.client.with_header("if-match", tag);
        let tag = async || ada.client.get(&path).await.headers["etag"].to_str().unwrap().to_owned();
        let old = tag().await;
        patch(&seen("\"7\""), &path, &first)
            .await
            .expect_problem(412, "precondition_failed");
        assert_eq!(tag().await, old, "{path}");
        let changed = patch(&seen(&old), &path, &first).await;
        changed.expect(200);
        let new = tag().await;
        assert_ne!(new, old, "{path}");
        assert_eq!(changed.headers["etag"].to_str().unwrap(), new, "{path}");
        patch(&seen(&old), &path, &second)
            .await
            .expect_problem(412, "precondition_failed");
        // Who does not ask to be told is not told.
        let changed = patch(&ada.client, &path, &second).await;
        changed.expect(200);
        let last = tag().await;
        assert_eq!(changed.headers["etag"].to_str().unwrap(), last, "{path}");
        if !path.ends_with(&ada.tenant.to_string()) {
            seen(&new)
                .delete(&path)
                .await
                .expect_problem(412, "precondition_failed");
            assert_eq!(seen(&last).delete(&path).await.status, 204, "{path}");
        }
    }
}

#[tokio::test]
async fn a_user_is_another_once_a_role_came_or_went() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let viewer = role_of(&ada, "viewer").await;
    let bob = json!({ "email": "bob@example.com", "first_name": "B", "last_name": "C" });
    let id = ada.client.post("/api/v1/users", &bob).await.expect(201)["id"].clone();
    let path = format!("/api/v1/users/{}", id.as_str().unwrap());
    let roles = format!("/api/v1/tenants/{}/users/{}/roles", ada.tenant, id.as_str().unwrap());
    let tag = async || ada.client.get(&path).await.headers["etag"].to_str().unwrap().to_owned();
    let before = tag().await;
    let given = ada.client.post(&roles, &json!({ "role_id": viewer })).await;
    given.expect(200);
    assert_eq!(given.headers["etag"].to_str().unwrap(), tag().await);
    let refused = ada.client.with_header("if-match", &before).delete(&path).await;
    refused.expect_problem(412, "precondition_failed");
    let with = tag().await;
    assert_eq!(ada.client.delete(&format!("{roles}/{viewer}")).await.status, 204);
    assert_ne!(tag().await, with);
}
