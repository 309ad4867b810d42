//! The header `Idempotency-Key`, over all operations of the document and at each one of iam.

use http::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::access::{operations, target};
use crate::harness::{Answer, App, Founder, Options};

/// Every POST that does not take the header, with the reason.
const WITHOUT: [(&str, &str); 32] = [
    ("/api/v1/auth/login", "a session and its secret are made anew each time"),
    ("/api/v1/auth/token", "a session and its secret are made anew each time"),
    (
        "/api/v1/auth/refresh",
        "the token works once, and so do its repetitions within a leeway",
    ),
    (
        "/api/v1/auth/register",
        "the answer is the same for an address that is known by now",
    ),
    ("/api/v1/auth/logout", "done before: nothing"),
    ("/api/v1/auth/verify-email", "the link works once"),
    ("/api/v1/auth/verify-email/resend", "each asks for another mail"),
    ("/api/v1/auth/password/forgot", "each asks for another mail"),
    ("/api/v1/auth/password/reset", "the link works once"),
    ("/api/v1/auth/password/change", "the present password changes with it"),
    (
        "/api/v1/api-keys/report-leak",
        "nobody is signed in, and the answer is the same whatever was done before",
    ),
    ("/api/v1/invitations/lookup", "reads"),
    ("/api/v1/invitations/accept", "the link works once"),
    ("/api/v1/platform/doctor/isolation", "reads"),
    ("/api/v1/platform/migrations", "one run at a time"),
    ("/api/v1/jobs/{id}/cancel", "done before: nothing"),
    ("/api/v1/platform/jobs/{id}/cancel", "done before: nothing"),
    ("/api/v1/platform/jobs/{id}/retry", "of a job that has ended alone"),
    ("/api/v1/platform/jobs/retry", "of dead jobs alone"),
    ("/api/v1/platform/operators", "somebody is an operator once"),
    ("/api/v1/platform/operators/{id}/deactivate", "done before: nothing"),
    ("/api/v1/platform/operators/{id}/reactivate", "done before: nothing"),
    (
        "/api/v1/platform/tenants/{id}/support-access",
        "a second access opens no more than the first, and ends by itself",
    ),
    ("/api/v1/platform/migrations/{id}/pause", "done before: nothing"),
    ("/api/v1/platform/migrations/{id}/resume", "done before: nothing"),
    ("/api/v1/platform/migrations/{id}/retry", "of tenants that failed alone"),
    ("/api/v1/platform/schedules/{name}/pause", "done before: nothing"),
    ("/api/v1/platform/schedules/{name}/resume", "done before: nothing"),
    (
        "/api/v1/platform/schedules/{name}/run-now",
        "a job of the product's schedules that still waits or runs is the one",
    ),
    ("/api/v1/platform/tenants/{id}/move", "one move of a tenant at a time"),
    (
        "/api/v1/platform/tenants/{id}/moves/{move}/abort",
        "done before: nothing",
    ),
    ("/api/v1/tenants/{id}/export", "one archive of a tenant at a time"),
];

/// Of those that run the platform, what leads to a state of a tenant.
const TO_A_STATE: [&str; 3] = ["suspend", "resume", "restore"];

#[tokio::test]
async fn every_post_takes_a_key_or_is_known_to_need_none() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let operator = app.operator().await;
    let without = |path: &str| {
        let leads_to_a_state = path.strip_prefix("/api/v1/tenants/{id}/");
        leads_to_a_state.is_some_and(|verb| TO_A_STATE.contains(&verb))
            || WITHOUT.iter().any(|(known, _)| *known == path)
    };
    let document = app.client.get("/openapi.json").await.expect(200);
    let mut n_without = 0;
    let posts = operations(&document).into_iter();
    for operation in posts.filter(|operation| operation.method == Method::POST) {
        let path = &operation.path;
        let parameters = document["paths"][path]["post"]["parameters"].as_array();
        let takes_it = parameters.is_some_and(|all| all.iter().any(|one| one["name"] == "Idempotency-Key"));
        assert_eq!(takes_it, !without(path), "POST {path}");
        if !takes_it {
            n_without += 1;
            continue;
        }
        // What is no key is told by whoever reads the header.
        let client = match operation.permission.as_str() {
            "operator" => &operator,
            _ => &ada.client,
        };
        let client = client.with_header("idempotency-key", "x".repeat(256));
        let body = operation.body.clone().unwrap_or_default();
        let target = target(&operation, ada.tenant);
        let answer = client.send(Method::POST, &target, "application/json", body).await;
        let problem = answer.expect_problem(422, "validation");
        assert_eq!(problem["errors"][0]["pointer"], "Idempotency-Key", "{path}: {problem}");
    }
    assert_eq!(n_without, WITHOUT.len() + TO_A_STATE.len(), "the list may only shrink");
}

/// A company of which each call of iam can be made.
struct Scene {
    app: App,
    ada: Founder,
    viewer: String,
    role: String,
    user: String,
    invitation: String,
}

/// A call, the same with another body, and what the audit log says of it.
struct Call {
    path: String,
    body: Value,
    other: Value,
    action: &'static str,
}

impl Scene {
    async fn new() -> Self {
        // A repetition is one more call to a throttle.
        let settings = vec![("BULKHEAD__AUTH__RESENDS_PER_INVITATION", "50".to_owned())];
        let app = App::with(Options {
            settings,
            ..Options::default()
        })
        .await;
        let ada = app.founder("acme").await;
        let made = async |path: &str, body: Value| {
            let made = ada.client.post(path, &body).await.expect(201);
            made["id"].as_str().unwrap().to_owned()
        };
        let role = made("/api/v1/roles", json!({ "name": "Ops", "permission_ids": ["vm:read"] })).await;
        let user = json!({ "email": "bob@example.com", "first_name": "Bob", "last_name": "Babbage" });
        let user = made("/api/v1/users", user).await;
        let invitation = json!({ "email": "carl@example.com", "role_ids": [role] });
        let invitation = made("/api/v1/invitations", invitation).await;
        let viewer = crate::invitations::role(&app, &ada, "viewer").await;
        Self {
            app,
            ada,
            viewer,
            role,
            user,
            invitation,
        }
    }

    fn calls(&self) -> Vec<Call> {
        let Self {
            viewer,
            role,
            user,
            invitation,
            ..
        } = self;
        let call = |path: &str, action, body, other| Call {
            path: path.into(),
            body,
            other,
            action,
        };
        let person = |email: &str| json!({ "email": email, "first_name": "D", "last_name": "E", "role_ids": [viewer] });
        let invited = |days: i64| json!({ "email": "f@example.com", "role_ids": [viewer], "expires_in_days": days });
        let role_of = |name: &str| json!({ "name": name, "description": "D", "permission_ids": ["vm:read"] });
        let tenant = format!("/api/v1/tenants/{}", self.ada.tenant);
        vec![
            call("/api/v1/roles", "role.create", role_of("A"), role_of("B")),
            call(
                &format!("/api/v1/roles/{role}/permissions"),
                "role.update",
                json!({ "permission_ids": ["vm:create"] }),
                json!({ "permission_ids": ["vm:delete"] }),
            ),
            call(
                "/api/v1/users",
                "user.create",
                person("d@example.com"),
                person("e@example.com"),
            ),
            call(
                &format!("{tenant}/users"),
                "user.create",
                person("g@example.com"),
                person("h@example.com"),
            ),
            call(
                &format!("{tenant}/users/{user}/roles"),
                "role.assign",
                json!({ "role_id": role }),
                json!({ "role_id": viewer }),
            ),
            call("/api/v1/invitations", "invitation.create", invited(3), invited(4)),
            call(
                &format!("/api/v1/invitations/{invitation}/resend"),
                "invitation.resend",
                json!({ "expires_in_days": 3 }),
                json!({ "expires_in_days": 4 }),
            ),
        ]
    }

    async fn n_recorded(&self, action: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM audit_events WHERE action = '{action}'");
        let mut connection = self.app.db.look_into(self.ada.tenant).await;
        let count = sqlx::query_scalar(AssertSqlSafe(sql));
        count.fetch_one(&mut connection).await.unwrap()
    }
}

/// All of an answer that a caller goes by.
fn told(answer: &Answer) -> (u16, String, [Option<http::HeaderValue>; 2]) {
    let headers = ["location", "etag"].map(|name| answer.headers.get(name).cloned());
    (answer.status.as_u16(), answer.text.clone(), headers)
}

#[tokio::test]
async fn the_same_request_is_answered_alike_and_done_once_also_when_many_come_at_once() {
    let scene = Scene::new().await;
    for (number, call) in scene.calls().into_iter().enumerate() {
        let before = scene.n_recorded(call.action).await;
        let keyed = scene.ada.client.with_header("idempotency-key", format!("key {number}"));
        let racers = (0..5).map(|_| keyed.post(&call.path, &call.body));
        let answers = futures_util::future::join_all(racers).await;
        let first = told(&answers[0]);
        assert!(first.0 < 300, "{}: {first:?}", call.path);
        for answer in &answers {
            assert_eq!(told(answer), first, "{}", call.path);
        }
        assert_eq!(scene.n_recorded(call.action).await, before + 1, "{}", call.path);
        let other = keyed.post(&call.path, &call.other).await;
        other.expect_problem(422, "idempotency_key_reused");
        assert_eq!(scene.n_recorded(call.action).await, before + 1, "{}", call.path);
    }
    // What has changed since does not change the answers, and no key means once more.
    let ops = format!("/api/v1/roles/{}", scene.role);
    let plain = json!({ "description": "D", "permission_ids": ["vm:read"] });
    let changed = scene
        .ada
        .client
        .send(Method::PATCH, &ops, "application/json", plain.to_string());
    assert_eq!(changed.await.expect(200)["permissions"].as_array().unwrap().len(), 1);
    let wider = scene.calls().swap_remove(1);
    let again = scene
        .ada
        .client
        .with_header("idempotency-key", "key 1")
        .with_header("if-match", "\"1\"");
    assert_eq!(
        again
            .post(&wider.path, &wider.body)
            .await
            .expect(200)
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        scene.ada.client.get(&ops).await.expect(200)["permissions"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let stale = scene
        .ada
        .client
        .with_header("if-match", "\"1\"")
        .post(&wider.path, &wider.body)
        .await;
    stale.expect_problem(412, "precondition_failed");
}

#[tokio::test]
async fn a_refused_request_leaves_its_key_free_and_a_repetition_needs_the_permission() {
    let scene = Scene::new().await;
    let keyed = scene.ada.client.with_header("idempotency-key", "one");
    let bob = |name: &str| json!({ "email": "bob@example.com", "first_name": name, "last_name": "B" });
    keyed
        .post("/api/v1/users", &bob("B"))
        .await
        .expect_problem(409, "already_member");
    let dora = json!({ "email": "dora@example.com", "first_name": "D", "last_name": "E" });
    keyed.post("/api/v1/users", &dora).await.expect(201);
    let ops = |name: &str| json!({ "name": name, "permission_ids": [] });
    keyed
        .post("/api/v1/roles", &ops("ops"))
        .await
        .expect_problem(409, "name_taken");
    keyed.post("/api/v1/roles", &ops("free")).await.expect(201);
    let again = json!({ "email": "carl@example.com", "role_ids": [scene.viewer] });
    keyed
        .post("/api/v1/invitations", &again)
        .await
        .expect_problem(409, "already_invited");

    // Keys are the principal's own, and what was taken from somebody is not told to them again.
    let admin = crate::invitations::role(&scene.app, &scene.ada, "admin").await;
    scene.app.register("eve@example.com").await;
    let eve = json!({ "email": "eve@example.com", "first_name": "E", "last_name": "V", "role_ids": [admin] });
    let eve_id = scene.ada.client.post("/api/v1/users", &eve).await.expect(201)["id"].clone();
    let eve = scene
        .app
        .enter("eve@example.com", scene.ada.tenant)
        .await
        .client
        .with_header("idempotency-key", "one");
    eve.post("/api/v1/roles", &ops("hers")).await.expect(201);
    eve.post("/api/v1/roles", &ops("hers")).await.expect(201);
    let roles = format!(
        "/api/v1/tenants/{}/users/{}/roles/{admin}",
        scene.ada.tenant,
        eve_id.as_str().unwrap()
    );
    assert_eq!(scene.ada.client.delete(&roles).await.status, 204);
    eve.post("/api/v1/roles", &ops("hers"))
        .await
        .expect_problem(403, "forbidden");
}
