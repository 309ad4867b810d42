//! The contract of users and roles, as a frontend uses it.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, App, Client, eventually};

async fn send(client: &Client, method: Method, path: &str, body: &Value) -> Answer {
    client.send(method, path, "application/json", body.to_string()).await
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn roles_are_made_given_changed_and_deleted_as_the_contract_says() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let client = &ada.client;
    let catalogue = client.get("/api/v1/permissions").await.expect(200);
    assert_eq!(
        catalogue[0],
        json!({ "id": "tenant:read", "name": "See the organisation", "module": "tenant" })
    );
    let roles = client.get("/api/v1/roles").await.expect(200);
    let names: Vec<_> = roles
        .as_array()
        .unwrap()
        .iter()
        .map(|role| role["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["owner", "admin", "member", "viewer"]);
    assert_eq!(
        keys(&roles[0]),
        ["description", "id", "is_system_role", "name", "user_count"]
    );
    assert_eq!(
        (&roles[0]["user_count"], &roles[0]["is_system_role"]),
        (&json!(1), &json!(true))
    );

    let wanted = json!({ "name": "Ops", "description": "Nights", "permission_ids": ["vm:read", "vm:create"] });
    let created = client.post("/api/v1/roles", &wanted).await;
    let role = created.expect(201);
    let path = created.headers["location"].to_str().unwrap().to_owned();
    assert_eq!(path, format!("/api/v1/roles/{}", role["id"].as_str().unwrap()));
    assert_eq!(created.headers["etag"], "\"1\"");
    assert_eq!(client.get(&path).await.expect(200), role);
    assert_eq!(
        role["permissions"][0],
        json!({ "id": "vm:read", "name": "See machines", "module": "vm" })
    );

    let rename = json!({ "name": "Night" });
    let renamed = send(&client.with_header("if-match", "\"1\""), Method::PATCH, &path, &rename).await;
    assert_eq!(
        (renamed.expect(200)["name"].as_str(), &renamed.headers["etag"]),
        (Some("Night"), &"\"2\"".parse().unwrap())
    );
    let late = send(&client.with_header("if-match", "\"1\""), Method::PATCH, &path, &rename).await;
    late.expect_problem(412, "precondition_failed");
    send(client, Method::PATCH, &path, &json!({ "name": "VIEWER" }))
        .await
        .expect_problem(409, "name_taken");

    let of_role = format!("{path}/permissions");
    let ids = |answer: &Value| {
        answer
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let set = send(client, Method::PUT, &of_role, &json!({ "permission_ids": ["vm:read"] }))
        .await
        .expect(200);
    assert_eq!(ids(&set), ["vm:read"]);
    let added = client
        .post(&of_role, &json!({ "permission_ids": ["job:read"] }))
        .await
        .expect(200);
    assert_eq!(ids(&added), ["job:read", "vm:read"]);
    client.delete(&format!("{of_role}/job:read")).await.expect(204);
    client
        .delete(&format!("{of_role}/job:read"))
        .await
        .expect_problem(404, "not_found");
    assert_eq!(ids(&client.get(&of_role).await.expect(200)), ["vm:read"]);

    let me = client.get("/api/v1/users/me").await.expect(200);
    let users = format!("{path}/users");
    let all = json!({ "user_ids": [me["id"]] });
    assert_eq!(send(client, Method::PUT, &users, &all).await.expect(200), all);
    assert_eq!(client.get(&users).await.expect(200), all);
    let assigned = client.delete(&path).await.expect_problem(409, "role_assigned");
    assert_eq!(assigned["detail"], "The role is still assigned to one user.");
    send(client, Method::PUT, &users, &json!({ "user_ids": [] }))
        .await
        .expect(200);
    client.delete(&path).await.expect(204);
    client.get(&path).await.expect_problem(404, "not_found");
    let owner = format!("/api/v1/roles/{}", roles[0]["id"].as_str().unwrap());
    client.delete(&owner).await.expect_problem(409, "system_role");
    let nobody = send(
        client,
        Method::PUT,
        &format!("{owner}/users"),
        &json!({ "user_ids": [] }),
    )
    .await;
    nobody.expect_problem(409, "last_owner");
}

#[tokio::test]
async fn users_are_added_changed_and_removed_under_both_paths() {
    let app = App::start().await;
    let (ada, bob) = (app.founder("acme").await, app.founder("bolt").await);
    let roles = ada.client.get("/api/v1/roles").await.expect(200);
    let viewer = roles[3]["id"].clone();
    let tenant_users = format!("/api/v1/orgs/{}/users", ada.tenant);
    let new = json!({ "email": bob.email, "first_name": "Robert", "last_name": "Baker", "role_ids": [viewer] });
    let added = ada.client.post("/api/v1/users", &new).await;
    let user = added.expect(201);
    assert_eq!(
        keys(&user),
        ["email", "first_name", "id", "is_active", "last_name", "roles"]
    );
    assert_eq!(
        (&user["first_name"], &user["roles"]),
        (&json!("Robert"), &json!(["viewer"]))
    );
    let path = added.headers["location"].to_str().unwrap().to_owned();
    let same = format!("{tenant_users}/{}", user["id"].as_str().unwrap());
    for path in [&path, &same] {
        assert_eq!(ada.client.get(path).await.expect(200), user);
    }
    ada.client
        .post(&tenant_users, &new)
        .await
        .expect_problem(409, "already_member");
    let found = ada
        .client
        .get(&format!("{tenant_users}?search=robert&limit=1"))
        .await
        .expect(200);
    assert_eq!((&found["items"][0], &found["total"]), (&user, &json!(1)));

    // One person in two tenants, with a role in each.
    let login = json!({ "email": bob.email, "password": crate::harness::PASSWORD });
    let pair = app.client.post("/api/v1/auth/login", &login).await.expect(200);
    let unbound = app.client.with_token(pair["access_token"].as_str().unwrap());
    let tenants = unbound.get("/api/v1/tenants").await.expect(200);
    let seen: Vec<_> = tenants
        .as_array()
        .unwrap()
        .iter()
        .map(|t| (t["name"].as_str(), t["role"].as_str()))
        .collect();
    assert_eq!(seen, [(Some("acme"), Some("viewer")), (Some("bolt"), Some("owner"))]);
    let in_acme = app.enter(&bob.email, ada.tenant).await;
    in_acme
        .client
        .post("/api/v1/users", &new)
        .await
        .expect_problem(403, "forbidden");
    // The tenant of the path and that of the token have to be the same; a foreign one does not exist.
    let elsewhere = format!("/api/v1/tenants/{}/users", bob.tenant);
    // A founder may use a token that is older than the tenant; these tenants are older than any token.
    let older = "UPDATE control.tenants SET created_at = created_at - interval '1 hour'";
    crate::harness::run(&mut app.db.connect("postgres").await, older).await;
    in_acme
        .client
        .get(&elsewhere)
        .await
        .expect_problem(403, "tenant_mismatch");
    ada.client.get(&elsewhere).await.expect_problem(404, "tenant_not_found");
    unbound.get(&elsewhere).await.expect(200);

    let of_user = format!("{same}/roles");
    let promoted = ada
        .client
        .post(&of_user, &json!({ "role_id": roles[1]["id"] }))
        .await
        .expect(200);
    assert_eq!(promoted["roles"], json!(["admin", "viewer"]));
    ada.client
        .post(&of_user, &json!({ "role_id": "rol_1" }))
        .await
        .expect_problem(422, "validation");
    ada.client
        .delete(&format!("{of_user}/{}", roles[1]["id"].as_str().unwrap()))
        .await
        .expect(204);
    let off = send(
        &ada.client,
        Method::PATCH,
        &path,
        &json!({ "is_active": false, "last_name": "B" }),
    )
    .await;
    assert_eq!(off.expect(200)["is_active"], false);
    eventually("bob is out", async || {
        (in_acme.client.get("/api/v1/vms").await.status == 404).then_some(())
    })
    .await;
    send(&ada.client, Method::PATCH, &same, &json!({ "is_active": true }))
        .await
        .expect(200);
    in_acme.client.get("/api/v1/vms").await.expect(200);
    ada.client.delete(&same).await.expect(204);
    ada.client.delete(&path).await.expect_problem(404, "not_found");
    let tenants = unbound.get("/api/v1/tenants").await.expect(200);
    assert_eq!(tenants.as_array().unwrap().len(), 1);
    let me = ada.client.get("/api/v1/users/me").await.expect(200);
    let last = ada
        .client
        .delete(&format!("/api/v1/users/{}", me["id"].as_str().unwrap()))
        .await;
    last.expect_problem(409, "last_owner");
}

#[tokio::test]
async fn a_person_with_five_hundred_tenants_chooses_by_name_and_costs_no_more_queries() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let asks = async |id: &str| {
        let answer = ada
            .client
            .with_header("x-request-id", id)
            .get("/api/v1/tenants")
            .await
            .expect(200);
        let line = eventually("the request is logged", async || {
            app.api.log().iter().find(|line| line.contains(id)).cloned()
        })
        .await;
        let event: Value = serde_json::from_str(&line).unwrap();
        (answer, event["db.queries"].as_u64().unwrap())
    };
    let (few, queries_for_few) = asks("with-one-tenant").await;
    assert_eq!(few.as_array().unwrap().len(), 1);
    let mut admin = app.db.connect("postgres").await;
    let more = "WITH made AS (INSERT INTO control.tenants (id, slug, name) \
                SELECT gen_random_uuid(), 'made-' || n, chr(97 + n * 7 % 26) || ' company ' || n \
                FROM generate_series(1, 499) AS n RETURNING id) \
                INSERT INTO control.memberships (identity_id, tenant_id, role) \
                SELECT i.id, made.id, 'viewer' FROM made, control.identities AS i";
    crate::harness::run(&mut admin, more).await;
    let (many, queries_for_many) = asks("with-500-tenants").await;
    let names: Vec<_> = many
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["name"].as_str().unwrap().to_lowercase())
        .collect();
    assert_eq!(names.len(), 500);
    assert!(names.is_sorted(), "{names:?}");
    assert_eq!((queries_for_many, queries_for_few), (queries_for_few, queries_for_few));
}
