//! People of a tenant that lives in another cluster: their changes commit there, and the index at home follows.

use std::collections::BTreeMap;

use bulkhead_iam::memberships::carrier;
use bulkhead_kernel::ids::{IdentityId, TenantId};
use bulkhead_tenancy::Cluster;
use bulkhead_tenants::moves;
use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};

use super::{Pair, cluster_b, http::Two, text};
use crate::harness::{Answer, Client, Founder, Options, PASSWORD, Relay, TestDb, eventually, run};

async fn patch(client: &Client, path: &str, body: &Value) -> Answer {
    client
        .send(Method::PATCH, path, "application/json", body.to_string())
        .await
}

/// What the index at home says of this address in the tenant; nothing where it has no line.
async fn shown(home: &TestDb, email: &str, tenant: TenantId) -> String {
    let sql = format!(
        "SELECT coalesce((SELECT m.role || ' ' || m.status FROM control.memberships AS m \
             JOIN control.identities AS i ON i.id = m.identity_id \
             WHERE i.email = '{email}' AND m.tenant_id = '{}'), '')",
        tenant.uuid()
    );
    text(&mut home.connect("postgres").await, &sql).await
}

async fn eventually_shown(two: &Two, email: &str, tenant: TenantId, expected: &str) {
    eventually("the index follows", async || {
        (shown(&two.app.db, email, tenant).await == expected).then_some(())
    })
    .await;
}

/// The ids of the tenant's roles by name.
async fn roles(founder: &Founder) -> BTreeMap<String, String> {
    let roles = founder.client.get("/api/v1/roles").await.expect(200);
    let word = |role: &Value, key: &str| role[key].as_str().unwrap().to_owned();
    let items = roles.as_array().unwrap().iter();
    items.map(|role| (word(role, "name"), word(role, "id"))).collect()
}

async fn add(founder: &Founder, email: &str, role: &str) -> String {
    let role_ids = [&roles(founder).await[role]];
    let new = json!({ "email": email, "first_name": "Bob", "last_name": "Babbage", "role_ids": role_ids });
    let member = founder.client.post("/api/v1/users", &new).await.expect(201);
    member["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn members_of_a_remote_tenant_are_added_changed_and_removed_like_any() {
    let two = Two::with("b", Options::default()).await;
    let ada = two.app.founder("acme").await;
    two.app.register("bob@example.com").await;
    let id = add(&ada, "bob@example.com", "viewer").await;
    // Who was added can sign in at once.
    let bob = two.app.enter("bob@example.com", ada.tenant).await;
    bob.client.get("/api/v1/vms").await.expect(200);
    assert_eq!(shown(&two.app.db, "bob@example.com", ada.tenant).await, "viewer active");

    let (path, role) = (
        format!("/api/v1/tenants/{}/users/{id}", ada.tenant),
        &roles(&ada).await["admin"],
    );
    let given = ada
        .client
        .post(&format!("{path}/roles"), &json!({ "role_id": role }))
        .await;
    assert!(given.status.is_success(), "{}", given.text);
    eventually_shown(&two, "bob@example.com", ada.tenant, "admin active").await;
    ada.client.delete(&format!("{path}/roles/{role}")).await.expect(204);
    eventually_shown(&two, "bob@example.com", ada.tenant, "viewer active").await;

    let named = patch(&ada.client, &path, &json!({ "first_name": "Robert" }))
        .await
        .expect(200);
    assert_eq!(named["first_name"], "Robert");
    // A person who takes another name is called so by every tenant, wherever it lives.
    patch(&bob.client, "/api/v1/users/me", &json!({ "last_name": "Byron" }))
        .await
        .expect(200);
    eventually("the tenant has the new name", async || {
        let member = ada.client.get(&path).await.expect(200);
        (member["last_name"] == "Byron" && member["first_name"] == "Ada").then_some(())
    })
    .await;

    patch(&ada.client, &path, &json!({ "is_active": false }))
        .await
        .expect(200);
    eventually("bob is kept out", async || {
        (bob.client.get("/api/v1/vms").await.status == 404).then_some(())
    })
    .await;
    eventually_shown(&two, "bob@example.com", ada.tenant, "viewer inactive").await;
    patch(&ada.client, &path, &json!({ "is_active": true }))
        .await
        .expect(200);
    eventually_shown(&two, "bob@example.com", ada.tenant, "viewer active").await;
    bob.client.get("/api/v1/vms").await.expect(200);
    ada.client.delete(&path).await.expect(204);
    eventually_shown(&two, "bob@example.com", ada.tenant, "").await;
    ada.client.get(&path).await.expect_problem(404, "not_found");
    let me = ada.client.get("/api/v1/users/me").await.expect(200);
    let own = format!("/api/v1/users/{}", me["id"].as_str().unwrap());
    ada.client.delete(&own).await.expect_problem(409, "last_owner");
}

#[tokio::test]
async fn what_is_taken_from_a_member_is_gone_before_the_index_follows() {
    let mut two = Two::with("b", Options::default()).await;
    let ada = two.app.founder("acme").await;
    two.app.register("bob@example.com").await;
    let id = add(&ada, "bob@example.com", "admin").await;
    let bob = two.app.enter("bob@example.com", ada.tenant).await;
    let key = json!({ "name": "deploy", "owner": "member", "scopes": ["vm:read"] });
    let key = bob.client.post("/api/v1/api-keys", &key).await.expect(201);
    let key = two.app.client.with_header("x-api-key", key["key"].as_str().unwrap());
    key.get("/api/v1/vms").await.expect(200);
    // Nobody carries anything.
    two.app.worker.take().unwrap().kill().await;
    patch(
        &ada.client,
        &format!("/api/v1/users/{id}"),
        &json!({ "is_active": false }),
    )
    .await
    .expect(200);
    for client in [&bob.client, &key] {
        eventually("it is taken", async || {
            ([401, 404].contains(&client.get("/api/v1/vms").await.status.as_u16())).then_some(())
        })
        .await;
    }
    assert_eq!(shown(&two.app.db, "bob@example.com", ada.tenant).await, "admin active");
    // A door that the index still shows does not open.
    let credentials = json!({ "email": "bob@example.com", "password": PASSWORD, "org_id": ada.tenant });
    let pair = two
        .app
        .client
        .post("/api/v1/auth/login", &credentials)
        .await
        .expect(200);
    let late = two.app.client.with_token(pair["access_token"].as_str().unwrap());
    late.get("/api/v1/vms").await.expect_problem(404, "tenant_not_found");
    two.app.worker = Some(two.app.start_worker().await);
    eventually_shown(&two, "bob@example.com", ada.tenant, "admin inactive").await;
}

#[tokio::test]
async fn an_invitation_of_a_remote_tenant_is_accepted_once() {
    let relay = Relay::start().await;
    let mut settings = relay.settings();
    settings.push(("BULKHEAD__DATABASE__ACQUIRE_TIMEOUT_MS", "30000".into()));
    settings.push(("BULKHEAD__AUTH__LINK_CALLS_PER_LINK", "1000".into()));
    let options = Options {
        settings,
        ..Options::default()
    };
    let two = Two::with("b", options).await;
    let ada = two.app.founder("acme").await;
    let role = roles(&ada).await["member"].clone();
    let invite = async |email: &str| {
        let wanted = json!({ "email": email, "role_ids": [role] });
        ada.client.post("/api/v1/invitations", &wanted).await.expect(201);
        eventually("the mail arrives", async || {
            let mails = relay.mails(0).await;
            let mail = mails.iter().find(|mail| mail.to == email)?;
            let text = crate::invitations::decoded(mail);
            let (_, rest) = text.split_once("/accept-invitation#token=")?;
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')?;
            Some(rest[..end].to_owned())
        })
        .await
    };
    let told = |answers: Vec<Answer>| {
        let mut told = BTreeMap::<String, usize>::new();
        for answer in answers {
            let code = answer.json()["code"].as_str().unwrap_or("ok").to_owned();
            *told.entry(code).or_default() += 1;
        }
        told
    };

    let token = invite("bob@example.com").await;
    let person = json!({ "token": token, "password": PASSWORD, "first_name": "Bob", "last_name": "Babbage" });
    let answers = join_all((0..30).map(|_| two.app.client.post("/api/v1/invitations/accept", &person))).await;
    let answers = told(answers);
    assert_eq!(answers.get("ok"), Some(&1), "{answers:?}");
    let of_late = ["ok", "invitation_used", "account_exists"];
    assert!(
        answers.keys().all(|code| of_late.contains(&code.as_str())),
        "{answers:?}"
    );
    two.app
        .enter("bob@example.com", ada.tenant)
        .await
        .client
        .get("/api/v1/vms")
        .await
        .expect(200);

    let token = invite("carl@example.com").await;
    let pair = two.app.register("carl@example.com").await;
    let verified = "UPDATE control.identities SET email_verified_at = now() WHERE email = 'carl@example.com'";
    run(&mut two.app.db.connect("postgres").await, verified).await;
    let carl = two.app.client.with_token(pair["access_token"].as_str().unwrap());
    let body = json!({ "token": token });
    let answers = told(join_all((0..30).map(|_| carl.post("/api/v1/invitations/accept", &body))).await);
    let expected = BTreeMap::from([("ok".into(), 1), ("invitation_used".into(), 29)]);
    assert_eq!(answers, expected);
    two.app
        .enter("carl@example.com", ada.tenant)
        .await
        .client
        .get("/api/v1/vms")
        .await
        .expect(200);
    let counted = "SELECT (SELECT count(*) FROM members) || ' ' || (SELECT count(*) FROM audit_events WHERE action = 'invitation.accept')";
    assert_eq!(text(&mut two.b.look_into(ada.tenant).await, counted).await, "3 2");
}

/// Somebody at home who is a member of nothing.
async fn person(pair: &Pair, email: &str) -> IdentityId {
    let id = IdentityId::new();
    let insert = format!(
        "INSERT INTO control.identities (id, email, first_name, last_name) VALUES ('{}', '{email}', 'B', 'B')",
        id.uuid()
    );
    run(&mut pair.home.connect("postgres").await, &insert).await;
    id
}

/// Says in the tenant's transaction, where it lives, what the index is to say.
async fn say(pair: &Pair, tenant: TenantId, person: IdentityId, role: &str, status: &str) {
    let mut tx = pair.db.tenant(tenant).await.unwrap();
    let function = if tx.is_at_home() { "set" } else { "await" };
    let sql = format!(
        "SELECT control.{function}_membership('{}', '{role}', '{status}')",
        person.uuid()
    );
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(tx.conn()).await.unwrap();
    tx.commit().await.unwrap();
}

/// How many words wait in this database.
async fn waiting(test: &TestDb) -> String {
    text(
        &mut test.connect("postgres").await,
        "SELECT count(*)::text FROM control.membership_outbox",
    )
    .await
}

async fn carry_everywhere(pair: &Pair) {
    for cluster in pair.db.clusters() {
        carrier::carry_all(&cluster).await.unwrap();
    }
}

#[tokio::test]
async fn words_under_way_go_with_a_move_and_none_overwrites_a_newer_one() {
    let pair = Pair::new().await;
    let tenant = pair.tenant("acme").await;
    let (bob, carl) = (
        person(&pair, "bob@example.com").await,
        person(&pair, "carl@example.com").await,
    );
    let bobs = async || shown(&pair.home, "bob@example.com", tenant).await;
    let carls = async || shown(&pair.home, "carl@example.com", tenant).await;
    pair.moved(tenant, &cluster_b()).await;
    say(&pair, tenant, bob, "viewer", "active").await;
    say(&pair, tenant, carl, "member", "active").await;
    let late = "SELECT string_agg(format('(%L, %L, %L, %L, %s, %s)', tenant_id, identity_id, role, status, epoch, seq), ',') \
                FROM control.membership_outbox";
    let late = text(&mut pair.b.connect("postgres").await, late).await;
    carry_everywhere(&pair).await;
    assert_eq!(
        (bobs().await.as_str(), carls().await.as_str()),
        ("viewer active", "member active")
    );
    assert_eq!(waiting(&pair.b).await, "0");

    // What nobody has carried yet is frozen with the tenant, goes home with it and is carried there.
    say(&pair, tenant, bob, "none", "removed").await;
    let moved = pair.frozen(tenant, &Cluster::home()).await;
    carry_everywhere(&pair).await;
    assert_eq!(
        (bobs().await.as_str(), waiting(&pair.b).await.as_str()),
        ("viewer active", "1")
    );
    moves::carry_out(&pair.db, moved.id, None).await.unwrap();
    assert_eq!(pair.place(tenant).await, Cluster::home());
    assert_eq!(
        (waiting(&pair.b).await, waiting(&pair.home).await),
        ("0".into(), "1".into())
    );
    // At home the index follows at once, and the word from before comes too late.
    say(&pair, tenant, bob, "admin", "active").await;
    carry_everywhere(&pair).await;
    assert_eq!(
        (bobs().await.as_str(), waiting(&pair.home).await.as_str()),
        ("admin active", "0")
    );
    say(&pair, tenant, carl, "none", "removed").await;

    // A carrier that slept through all of it wakes up, and the tenant has even come back.
    pair.moved(tenant, &cluster_b()).await;
    let again = format!("INSERT INTO control.membership_outbox VALUES {late}");
    run(&mut pair.b.connect("postgres").await, &again).await;
    carry_everywhere(&pair).await;
    assert_eq!((bobs().await.as_str(), carls().await.as_str()), ("admin active", ""));
    assert_eq!(waiting(&pair.b).await, "0");
    say(&pair, tenant, carl, "viewer", "active").await;
    carry_everywhere(&pair).await;
    assert_eq!(carls().await, "viewer active");
}
