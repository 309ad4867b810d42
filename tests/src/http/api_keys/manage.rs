//! Making, showing, changing and rotating keys.

use http::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Row};

use super::{PATH, audit, colleague, mint, minted, path_of, program};
use crate::harness::{App, Client, eventually, run};

async fn patch(client: &Client, path: &str, changes: &Value) -> crate::harness::Answer {
    client
        .send(Method::PATCH, path, "application/json", changes.to_string())
        .await
}

async fn rotate(client: &Client, path: &str, overlap_secs: u32) -> String {
    let rotated = client
        .post(&format!("{path}/rotate"), &json!({ "overlap_secs": overlap_secs }))
        .await;
    rotated.expect(200)["key"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_key_lets_a_program_in_by_either_header() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let (key, text) = mint(&ada, "member", &["vm:read"]).await;
    assert_eq!(
        (&key["status"], &key["owner"]["type"]),
        (&json!("active"), &json!("member"))
    );
    assert!(text.starts_with("bh_live_") && text.ends_with(key["hint"].as_str().unwrap()));
    for client in [program(&app, &text), app.client.with_token(&text)] {
        let whoami = client.get("/api/v1/whoami").await.expect(200);
        let principal = json!({ "type": "api_key", "id": key["id"], "name": "deploy" });
        assert_eq!(whoami["principal"], principal, "{whoami}");
        assert_eq!(
            (&whoami["permissions"], &whoami["roles"]),
            (&json!(["vm:read"]), &json!([]))
        );
        assert_eq!(whoami["tenant"]["id"], ada.tenant.to_string());
        client.get("/api/v1/vms").await.expect(200);
        client
            .with_header("x-org-id", &ada.slug)
            .get("/api/v1/vms")
            .await
            .expect(200);
        client
            .post("/api/v1/vms", &json!({}))
            .await
            .expect_problem(422, "validation");
    }
}

#[tokio::test]
async fn the_secret_of_a_key_is_nowhere_but_in_the_answer_that_made_it() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let wanted = json!({ "name": "deploy", "scopes": ["vm:read"] });
    let (key, text) = minted(&ada.client.with_header("idempotency-key", "one"), &wanted).await;
    let next = rotate(&ada.client, &path_of(&key), 3600).await;
    let used = program(&app, &next).with_header("x-request-id", "a-use");
    used.get("/api/v1/vms").await.expect(200);
    app.client
        .post(&format!("{PATH}/report-leak"), &json!({ "key": format!("{text}x") }))
        .await
        .expect(202);
    let shown = [
        ada.client.get(PATH).await.text,
        ada.client.get(&path_of(&key)).await.text,
    ];
    let line = eventually("the use is logged", async || {
        app.api.log().iter().find(|line| line.contains("a-use")).cloned()
    })
    .await;
    assert!(
        line.contains(key["id"].as_str().unwrap()),
        "the line names the key: {line}"
    );
    let mut inside = app.db.look_into(ada.tenant).await;
    let tables = sqlx::query_scalar!(
        r#"
        SELECT c.oid::regclass::text AS "table!"
        FROM pg_class AS c
        WHERE c.relkind = 'r' AND c.relnamespace IN (current_schema()::regnamespace, 'control'::regnamespace)
        "#
    )
    .fetch_all(&mut inside)
    .await
    .unwrap();
    let mut stored = Vec::new();
    for table in tables {
        let sql = format!("SELECT coalesce(string_agg(r::text, ' '), '') FROM {table} AS r");
        let row = sqlx::raw_sql(AssertSqlSafe(sql));
        stored.push(
            sqlx::Executor::fetch_one(&mut inside, row)
                .await
                .unwrap()
                .get::<String, _>(0),
        );
    }
    assert!(stored.len() > 20 && stored.iter().any(|rows| rows.contains("api_key.rotate")));
    let log = app.api.log();
    for secret in [&text[52..85], &next[52..85]] {
        for place in shown.iter().chain(&stored).chain(&log) {
            assert!(!place.contains(secret), "a secret in {place}");
        }
    }
}

#[tokio::test]
async fn the_list_is_searched_and_tells_which_keys_nobody_used() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let (used, text) = mint(&ada, "member", &["vm:read"]).await;
    let (unused, _) = mint(&ada, "tenant", &["vm:read"]).await;
    let (revoked, _) = mint(&ada, "tenant", &["vm:read"]).await;
    ada.client.delete(&path_of(&revoked)).await.expect(204);
    program(&app, &text).get("/api/v1/vms").await.expect(200);
    eventually("the use is written", async || {
        let key = ada.client.get(&path_of(&used)).await.expect(200);
        key["last_used_at"].is_string().then_some(())
    })
    .await;
    let ids = |list: Value| {
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["id"].clone())
            .collect::<Vec<_>>()
    };
    let all = ada.client.get(PATH).await.expect(200);
    assert_eq!(
        (&all["total"], ids(all.clone())),
        (
            &json!(3),
            vec![revoked["id"].clone(), unused["id"].clone(), used["id"].clone()]
        )
    );
    assert_eq!(all["items"][0]["status"], "revoked");
    let never = ada.client.get(&format!("{PATH}?unused=true")).await.expect(200);
    assert_eq!(ids(never), [unused["id"].clone()]);
    let second = ada.client.get(&format!("{PATH}?page=2&limit=2")).await.expect(200);
    assert_eq!(ids(second), [used["id"].clone()]);
    let hint = used["hint"].as_str().unwrap();
    let found = ada
        .client
        .get(&format!("{PATH}?search={}", hint.to_lowercase()))
        .await
        .expect(200);
    assert_eq!(ids(found), [used["id"].clone()]);
    let named = json!({ "name": "100% Nightly", "scopes": ["vm:read"] });
    let named = ada.client.post(PATH, &named).await.expect(201);
    for search in ["%25", "nightly&unused=true", "0%25%20n"] {
        let found = ada.client.get(&format!("{PATH}?search={search}")).await.expect(200);
        assert_eq!(
            (&found["total"], ids(found.clone())),
            (&json!(1), vec![named["id"].clone()]),
            "{search}"
        );
    }
    let refused = ada.client.get(&format!("{PATH}?search=%00")).await;
    assert_eq!(
        refused.expect_problem(422, "validation")["errors"][0]["pointer"],
        "search"
    );
}

#[tokio::test]
async fn the_same_request_under_one_key_makes_one_key_and_shows_it_again() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let keyed = ada.client.with_header("idempotency-key", "k-1");
    let wanted = json!({ "name": "deploy", "owner": "tenant", "scopes": ["vm:read"], "allowed_addresses": ["127.0.0.0/8"],
        "expires_at": "2099-01-01T00:00:00Z" });
    let calls = (0..10).map(|_| keyed.post(PATH, &wanted));
    let answers = futures_util::future::join_all(calls).await;
    let first = answers[0].expect(201);
    for answer in &answers {
        assert_eq!(
            (answer.expect(201), &answer.headers["location"]),
            (first.clone(), &answers[0].headers["location"])
        );
    }
    assert_eq!(ada.client.get(PATH).await.expect(200)["total"], 1);
    program(&app, first["key"].as_str().unwrap())
        .get("/api/v1/vms")
        .await
        .expect(200);
    let other = json!({ "name": "other", "scopes": ["vm:read"] });
    keyed
        .post(PATH, &other)
        .await
        .expect_problem(422, "idempotency_key_reused");

    let path = format!("{}/rotate", path_of(&first));
    let overlap = json!({ "overlap_secs": 60 });
    let rotated = keyed.post(&path, &overlap).await.expect(200);
    assert_eq!(keyed.post(&path, &overlap).await.expect(200), rotated);
    assert_ne!(rotated["key"], first["key"]);
    for key in [&first, &rotated] {
        program(&app, key["key"].as_str().unwrap())
            .get("/api/v1/vms")
            .await
            .expect(200);
    }
    keyed
        .post(&path, &json!({ "overlap_secs": 0 }))
        .await
        .expect_problem(422, "idempotency_key_reused");
}

#[tokio::test]
async fn nobody_makes_widens_or_rotates_a_key_that_can_do_more_than_they_can() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let allowed = [
        "api_key:read",
        "api_key:create",
        "api_key:update",
        "api_key:delete",
        "vm:read",
    ];
    let eve = colleague(&app, &ada, "eve", &allowed).await;
    for owner in ["member", "tenant"] {
        let wanted = json!({ "name": "x", "owner": owner, "scopes": ["vm:read", "vm:delete"] });
        let problem = eve.client.post(PATH, &wanted).await.expect_problem(403, "forbidden");
        assert!(
            problem["detail"].as_str().unwrap().ends_with("you lack vm:delete."),
            "{problem}"
        );
    }
    let (own, _) = mint(&eve, "member", &["vm:read"]).await;
    let wider = json!({ "scopes": ["vm:read", "job:read"] });
    patch(&eve.client, &path_of(&own), &wider)
        .await
        .expect_problem(403, "forbidden");

    let (strong, _) = mint(&ada, "tenant", &["vm:read", "vm:delete"]).await;
    let (weak, _) = mint(&ada, "tenant", &["vm:read"]).await;
    let (adas, _) = mint(&ada, "member", &["vm:read"]).await;
    let overlap = json!({ "overlap_secs": 0 });
    for key in [&strong, &adas] {
        patch(&eve.client, &path_of(key), &json!({ "allowed_addresses": [] }))
            .await
            .expect_problem(403, "forbidden");
        patch(&eve.client, &path_of(key), &json!({ "scopes": ["vm:read"] }))
            .await
            .expect_problem(403, "forbidden");
        eve.client
            .post(&format!("{}/rotate", path_of(key)), &overlap)
            .await
            .expect_problem(403, "forbidden");
    }
    patch(&eve.client, &path_of(&weak), &json!({ "name": "weak" }))
        .await
        .expect(200);
    eve.client
        .post(&format!("{}/rotate", path_of(&weak)), &overlap)
        .await
        .expect(200);
    // To take something away from others is not to get at it.
    eve.client.delete(&path_of(&strong)).await.expect(204);
    patch(&ada.client, &path_of(&strong), &json!({ "name": "x" }))
        .await
        .expect_problem(409, "api_key_revoked");
    ada.client
        .post(&format!("{}/rotate", path_of(&strong)), &overlap)
        .await
        .expect_problem(409, "api_key_revoked");
}

#[tokio::test]
async fn who_lacks_a_permission_about_keys_gets_none_of_it() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let (key, _) = mint(&ada, "tenant", &["vm:read"]).await;
    let eve = colleague(&app, &ada, "eve", &["vm:read"]).await;
    let (path, client) = (path_of(&key), &eve.client);
    client.get(PATH).await.expect_problem(403, "forbidden");
    client.get(&path).await.expect_problem(403, "forbidden");
    client
        .post(PATH, &json!({ "name": "x", "scopes": ["vm:read"] }))
        .await
        .expect_problem(403, "forbidden");
    client.delete(&path).await.expect_problem(403, "forbidden");
    patch(client, &path, &json!({ "name": "x" }))
        .await
        .expect_problem(403, "forbidden");
    client
        .post(&format!("{path}/rotate"), &json!({ "overlap_secs": 0 }))
        .await
        .expect_problem(403, "forbidden");
}

#[tokio::test]
async fn what_changed_is_recorded_with_who_did_it() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let (key, text) = mint(&ada, "tenant", &["vm:read", "vm:create"]).await;
    let path = path_of(&key);
    let changes = json!({ "name": "renamed", "scopes": ["vm:read"], "expires_at": "2099-01-01T00:00:00Z" });
    let changed = patch(&ada.client, &path, &changes).await;
    assert_eq!(
        (changed.expect(200)["name"].as_str(), &changed.headers["etag"]),
        (Some("renamed"), &"\"2\"".parse().unwrap())
    );
    let open = patch(&ada.client, &path, &json!({ "expires_at": null }))
        .await
        .expect(200);
    assert_eq!((&open["expires_at"], &open["name"]), (&Value::Null, &json!("renamed")));
    assert_eq!(
        program(&app, &text).get("/api/v1/whoami").await.expect(200)["permissions"],
        json!(["vm:read"])
    );
    rotate(&ada.client, &path, 0).await;
    ada.client.delete(&path).await.expect(204);
    ada.client.delete(&path).await.expect(204);
    let events = audit(&app, &ada).await;
    let whoami = ada.client.get("/api/v1/whoami").await.expect(200);
    let actor = format!("done member {}", whoami["principal"]["id"].as_str().unwrap());
    let actions = ["create", "update", "update", "rotate", "revoke"];
    assert_eq!(events.len(), actions.len(), "{events:?}");
    for (event, action) in events.iter().zip(actions) {
        assert!(event.starts_with(&format!("api_key.{action} {actor}")), "{event}");
        assert!(event.contains(key["id"].as_str().unwrap()), "{event}");
    }
    assert!(
        events[1].contains(r#""before": ["vm:read", "vm:create"]"#) || events[1].contains("vm:create"),
        "{}",
        events[1]
    );
}

#[tokio::test]
async fn what_breaks_a_rule_is_named_and_makes_no_key() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let with = |member: &str, value: Value| {
        let mut wanted = json!({ "name": "x", "scopes": ["vm:read"] });
        wanted[member] = value;
        wanted
    };
    for (wanted, pointer) in [
        (with("name", json!("")), "/name"),
        (with("name", json!("a\u{0}b")), "/name"),
        (with("owner", json!("usr_1")), "/owner"),
        (with("scopes", json!([])), "/scopes"),
        (with("scopes", json!(["vm:read", "vm:fly"])), "/scopes/1"),
        (with("scopes", json!(["api_key:create"])), "/scopes/0"),
        (with("scopes", json!("vm:read")), "/scopes"),
        (with("allowed_addresses", json!(["10.0.0.1/8"])), "/allowed_addresses/0"),
        (with("expires_at", json!("2020-01-01T00:00:00Z")), "/expires_at"),
        (with("expires_at", json!("tomorrow")), "/expires_at"),
        (with("key", json!("bh_live_mine")), "/key"),
    ] {
        let problem = ada.client.post(PATH, &wanted).await.expect_problem(422, "validation");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let long = ada.client.with_header("idempotency-key", "x".repeat(256));
    long.post(PATH, &json!({ "name": "x", "scopes": ["vm:read"] }))
        .await
        .expect_problem(422, "validation");
    ada.client
        .get(&format!("{PATH}?unused=maybe"))
        .await
        .expect_problem(422, "validation");
    assert_eq!(ada.client.get(PATH).await.expect(200)["total"], 0);
    let (key, _) = mint(&ada, "member", &["vm:read"]).await;
    for secs in [json!(-1), json!(604_801), json!("x"), json!(null)] {
        let wanted = json!({ "overlap_secs": secs });
        let answer = ada.client.post(&format!("{}/rotate", path_of(&key)), &wanted).await;
        assert_eq!(
            answer.expect_problem(422, "validation")["errors"][0]["pointer"],
            "/overlap_secs"
        );
    }
}

#[tokio::test]
async fn a_read_only_tenant_lets_keys_read_and_makes_none() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let (key, text) = mint(&ada, "member", &["vm:read"]).await;
    let suspend = "UPDATE control.tenants SET status = 'suspended', suspension = 'read_only', epoch = epoch + 1";
    run(&mut app.db.connect("postgres").await, suspend).await;
    program(&app, &text).get("/api/v1/vms").await.expect(200);
    let wanted = json!({ "name": "x", "scopes": ["vm:read"] });
    ada.client
        .post(PATH, &wanted)
        .await
        .expect_problem(403, "tenant_read_only");
    ada.client
        .delete(&path_of(&key))
        .await
        .expect_problem(403, "tenant_read_only");
}
