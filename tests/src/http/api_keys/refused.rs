//! Keys that open nothing, and calls that no key may make.

use http::Method;
use serde_json::{Value, json};

use super::{PATH, audit, mint, minted, path_of, program};
use crate::harness::{App, Client, eventually, run, server::Server};

/// The problem without what differs between any two requests.
async fn refused(client: &Client) -> String {
    let mut problem = client.get("/api/v1/vms").await.expect_problem(401, "api_key_invalid");
    problem.as_object_mut().unwrap().remove("instance");
    problem.to_string()
}

#[tokio::test]
async fn a_mistyped_key_is_refused_without_a_query() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let (_, text) = mint(&ada, "member", &["vm:read"]).await;
    let n_typos = text.len();
    for at in 0..n_typos {
        let mut typo = text.clone().into_bytes();
        typo[at] = if typo[at] == b'a' { b'b' } else { b'a' };
        let typo = String::from_utf8(typo).unwrap();
        let client = program(&app, &typo).with_header("x-request-id", format!("typo-{at}-"));
        refused(&client).await;
    }
    let lines = eventually("all is logged", async || {
        let log = app.api.log();
        let of_requests = |line: &&String| line.contains("http.request\"") && line.contains("\"typo-");
        let lines: Vec<_> = log.iter().filter(of_requests).cloned().collect();
        (lines.len() == n_typos).then_some(lines)
    })
    .await;
    for line in lines {
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["db.queries"], 0, "{event}");
    }
}

#[tokio::test]
async fn two_credentials_are_refused_whatever_they_are() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let (_, text) = mint(&ada, "member", &["vm:read"]).await;
    let bearer = format!("Bearer {text}");
    for several in [
        ada.client.with_header("x-api-key", &text),
        program(&app, &text).with_header("authorization", &bearer),
        program(&app, &text).with_header("x-api-key", &text),
        app.client
            .with_header("authorization", &bearer)
            .with_header("authorization", &bearer),
    ] {
        for path in ["/api/v1/vms", "/api/v1/users/me"] {
            let answer = several.get(path).await;
            answer.expect_problem(401, "unauthenticated");
            assert!(answer.headers.contains_key("www-authenticate"));
        }
    }
    program(&app, &ada.token)
        .get("/api/v1/vms")
        .await
        .expect_problem(401, "api_key_invalid");
}

#[tokio::test]
async fn unknown_expired_and_revoked_keys_look_the_same_and_differ_in_the_records() {
    let app = App::start().await;
    let (ada, bob) = (app.founder("acme").await, app.founder("bolt").await);
    let (expired, expired_text) = mint(&ada, "member", &["vm:read"]).await;
    let (revoked, revoked_text) = mint(&ada, "member", &["vm:read"]).await;
    let (_, unknown_text) = mint(&ada, "tenant", &["vm:read"]).await;
    let (_, gone_text) = mint(&bob, "tenant", &["vm:read"]).await;
    let mut inside = app.db.look_into(ada.tenant).await;
    run(&mut inside, "DELETE FROM api_keys WHERE owner_kind = 'tenant'").await;
    let expire = format!(
        "UPDATE api_keys SET expires_at = now() - interval '1 hour' WHERE name = 'deploy' AND hint = '{}'",
        expired["hint"].as_str().unwrap()
    );
    run(&mut inside, &expire).await;
    ada.client.delete(&path_of(&revoked)).await.expect(204);
    let close = format!(
        "UPDATE control.tenants SET status = 'suspended', suspension = 'full', epoch = epoch + 1 WHERE id = '{}'",
        bob.tenant.uuid()
    );
    let mut admin = app.db.connect("postgres").await;
    run(&mut admin, &close).await;
    run(&mut app.db.look_into(bob.tenant).await, "DELETE FROM api_keys").await;

    let mut answers = Vec::new();
    for text in [
        &expired_text,
        &revoked_text,
        &unknown_text,
        &gone_text,
        &"bh_live_nonsense".to_owned(),
        &"nonsense".to_owned(),
    ] {
        answers.push(refused(&program(&app, text)).await);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    // Neither does the name of a tenant beside a key that opens nothing tell anything.
    let named = program(&app, &revoked_text).with_header("x-org-id", &bob.slug);
    assert_eq!(refused(&named).await, answers[0]);

    let events = eventually("what was refused is recorded", async || {
        let events = audit(&app, &ada).await;
        let uses: Vec<_> = events
            .into_iter()
            .filter(|event| event.starts_with("api_key.use"))
            .collect();
        (uses.len() == 2).then_some(uses)
    })
    .await;
    for (key, reason) in [(&expired, "expired"), (&revoked, "revoked")] {
        let actor = format!("api_key.use refused api_key {}", key["id"].as_str().unwrap());
        assert!(
            events
                .iter()
                .any(|event| event.starts_with(&actor) && event.contains(reason)),
            "{events:?}"
        );
    }
    for reason in ["expired", "revoked", "unknown", "malformed"] {
        let reason = format!("\"reason\":\"{reason}\"");
        assert!(
            app.api
                .log()
                .iter()
                .any(|line| line.contains("api_key.refused") && line.contains(&reason)),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn a_revocation_and_a_demotion_bite_on_another_process() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let (key, text) = mint(&ada, "tenant", &["vm:read"]).await;
    let (_, owned) = mint(&ada, "member", &["vm:read"]).await;
    let other = Server::start("bulkhead-api", &app.env).await;
    let other = Client::new(other.url("public"));
    let (there, demoted) = (
        other.with_header("x-api-key", &text),
        other.with_header("x-api-key", &owned),
    );
    for client in [&there, &demoted] {
        assert!([200, 503].contains(&client.get("/api/v1/vms").await.status.as_u16()));
    }
    ada.client.delete(&path_of(&key)).await.expect(204);
    refused(&program(&app, &text)).await;
    run(&mut app.db.look_into(ada.tenant).await, "DELETE FROM member_roles").await;
    eventually("the revocation bites elsewhere", async || {
        (there.get("/api/v1/vms").await.status == 401).then_some(())
    })
    .await;
    eventually("the demotion bites elsewhere", async || {
        (demoted.get("/api/v1/vms").await.status == 403).then_some(())
    })
    .await;
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_key_with_allowed_addresses_works_from_them_alone() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let wanted = |networks: Value| json!({ "name": "x", "scopes": ["vm:read"], "allowed_addresses": networks });
    let (_, text) = minted(&ada.client, &wanted(json!(["127.0.0.2", "2001:db8::/32"]))).await;
    let client = program(&app, &text);
    client
        .at_address("127.0.0.2".parse().unwrap())
        .get("/api/v1/vms")
        .await
        .expect(200);
    let elsewhere = client.at_address("127.0.0.3".parse().unwrap());
    elsewhere
        .get("/api/v1/vms")
        .await
        .expect_problem(403, "address_not_allowed");
    // What a caller claims about itself is not looked at.
    let claimed = elsewhere.with_header("x-forwarded-for", "127.0.0.2");
    claimed
        .get("/api/v1/vms")
        .await
        .expect_problem(403, "address_not_allowed");
    let (_, open) = minted(&ada.client, &wanted(json!(["0.0.0.0/0"]))).await;
    program(&app, &open).get("/api/v1/vms").await.expect(200);
    let (_, sixth) = minted(&ada.client, &wanted(json!(["::/0"]))).await;
    program(&app, &sixth)
        .get("/api/v1/vms")
        .await
        .expect_problem(403, "address_not_allowed");
}

#[tokio::test]
async fn a_key_is_bound_to_its_tenant() {
    let app = App::start().await;
    let (ada, bob) = (app.founder("acme").await, app.founder("bolt").await);
    let (_, text) = mint(&ada, "member", &["vm:read"]).await;
    for other in [bob.tenant.to_string(), bob.slug.clone(), "nobody".into()] {
        let crossed = program(&app, &text).with_header("x-org-id", other);
        crossed.get("/api/v1/vms").await.expect_problem(403, "tenant_mismatch");
    }
    let malformed = program(&app, &text).with_header("x-org-id", "No Such!");
    malformed
        .get("/api/v1/vms")
        .await
        .expect_problem(400, "tenant_malformed");
}

/// Every operation of the document, asked with the least that a key can have: what needs more is refused before anything
/// is looked at, and what is for people says so.
#[tokio::test]
async fn on_every_operation_a_key_without_the_scope_is_refused() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let (_, text) = mint(&ada, "tenant", &["usage:write"]).await;
    let client = program(&app, &text);
    let document = app.client.get("/openapi.json").await.expect(200);
    let (mut n_forbidden, mut n_people) = (0, 0);
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let who = operation["x-permission"].as_str().unwrap();
            if who == "public" {
                continue;
            }
            let (status, code) = call(&client, method, path, operation).await;
            let expected = match who {
                "member" => (200, ""),
                "signed in" | "operator" => (403, "api_key_not_allowed"),
                "usage:write" => continue,
                _ if path.starts_with("/api/v1/tenants/") => (403, "api_key_not_allowed"),
                people if people.starts_with("tenant:") => (403, "api_key_not_allowed"),
                _ => (403, "forbidden"),
            };
            assert_eq!((status, code.as_str()), expected, "{method} {path} ({who})");
            n_forbidden += usize::from(code == "forbidden");
            n_people += usize::from(code == "api_key_not_allowed");
        }
    }
    assert!(n_forbidden >= 12 && n_people >= 12, "{n_forbidden} and {n_people}");
}

/// The path with ids that nothing has, each of the kind that its noun has.
fn filled(path: &str) -> String {
    let mut noun = "";
    let pieces = path.split('/').map(|piece| {
        let before = std::mem::replace(&mut noun, piece);
        if !piece.starts_with('{') {
            return piece.to_owned();
        }
        let prefix = match before {
            "permissions" => return "vm:read".to_owned(),
            "tenants" | "orgs" => "org",
            "users" => "usr",
            "roles" => "rol",
            "invitations" => "inv",
            "api-keys" => "key",
            "resources" => "res",
            "webhooks" => "whk",
            "deliveries" => "msg",
            "sessions" => "ses",
            "jobs" => "job",
            "vms" => "vm",
            "support-access" => "sup",
            // What these are for refuses every key before it looks at ids.
            _ => "any",
        };
        format!("{prefix}_{:032x}", 0)
    });
    pieces.collect::<Vec<_>>().join("/")
}

/// The operation with the document's own example, and ids that nothing has.
async fn call(client: &Client, method: &str, path: &str, operation: &Value) -> (u16, String) {
    let body = &operation["requestBody"]["content"]["application/json"];
    let (content_type, body) = if body.is_object() {
        ("application/json", body["example"].to_string())
    } else {
        ("", String::new())
    };
    let path = filled(path);
    let method: Method = method.to_uppercase().parse().unwrap();
    let answer = client.send(method, &path, content_type, body).await;
    let code = if answer.status.as_u16() < 400 {
        String::new()
    } else {
        answer.json()["code"].as_str().unwrap().to_owned()
    };
    (answer.status.as_u16(), code)
}

#[tokio::test]
async fn keys_cannot_manage_keys() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let (key, text) = mint(&ada, "member", &["vm:read"]).await;
    let all = "UPDATE api_keys SET scopes = scopes || ARRAY ['api_key:read', 'api_key:create', 'api_key:update', 'api_key:delete']";
    run(&mut app.db.look_into(ada.tenant).await, all).await;
    let client = program(&app, &text);
    client.get(PATH).await.expect_problem(403, "forbidden");
    client.get(&path_of(&key)).await.expect_problem(403, "forbidden");
    let wanted = json!({ "name": "x", "scopes": ["vm:read"] });
    client.post(PATH, &wanted).await.expect_problem(403, "forbidden");
    client.delete(&path_of(&key)).await.expect_problem(403, "forbidden");
    let rotate = client
        .post(&format!("{}/rotate", path_of(&key)), &json!({ "overlap_secs": 0 }))
        .await;
    rotate.expect_problem(403, "forbidden");
}
