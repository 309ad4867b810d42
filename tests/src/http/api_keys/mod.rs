//! Programs with keys, as they and the people who manage them see it.

mod leak;
mod manage;
mod refused;

use serde_json::{Value, json};

use crate::harness::{App, Client, Founder, run};

const PATH: &str = "/api/v1/api-keys";

/// A key with these scopes: what the API says of it, and its text.
async fn mint(founder: &Founder, owner: &str, scopes: &[&str]) -> (Value, String) {
    let wanted = json!({ "name": "deploy", "owner": owner, "scopes": scopes });
    minted(&founder.client, &wanted).await
}

async fn minted(client: &Client, wanted: &Value) -> (Value, String) {
    let key = client.post(PATH, wanted).await.expect(201);
    let text = key["key"].as_str().unwrap().to_owned();
    (key, text)
}

/// A program with this key and nothing else.
fn program(app: &App, key: &str) -> Client {
    app.client.with_header("x-api-key", key)
}

fn path_of(key: &Value) -> String {
    format!("{PATH}/{}", key["id"].as_str().unwrap())
}

/// Somebody else in the founder's tenant, with a role of these permissions.
async fn colleague(app: &App, founder: &Founder, name: &str, permissions: &[&str]) -> Founder {
    let email = format!("{name}@example.com");
    app.register(&email).await;
    let tenant = founder.tenant.uuid();
    let mut inside = app.db.look_into(founder.tenant).await;
    let mut sql = format!(
        "INSERT INTO members (identity_id, email, first_name, last_name) \
         SELECT id, email, first_name, last_name FROM control.identities WHERE email = '{email}'; \
         INSERT INTO control.memberships (identity_id, tenant_id, role) \
         SELECT id, '{tenant}', 'member' FROM control.identities WHERE email = '{email}'; \
         INSERT INTO roles (id, name, description, is_system) VALUES (gen_random_uuid(), '{name}', '', false); \
         INSERT INTO member_roles (identity_id, role_id) \
         SELECT m.identity_id, r.id FROM members AS m, roles AS r WHERE m.email = '{email}' AND r.name = '{name}';"
    );
    for permission in permissions {
        let grant = format!("INSERT INTO role_permissions SELECT id, '{permission}' FROM roles WHERE name = '{name}';");
        sql.push_str(&grant);
    }
    run(&mut inside, &sql).await;
    app.enter(&email, founder.tenant).await
}

/// The audit log of a tenant as one text for each event, the oldest first.
async fn audit(app: &App, founder: &Founder) -> Vec<String> {
    sqlx::query_scalar!(
        r#"
        SELECT concat_ws(' ', action, outcome, actor_kind, actor_id, targets, changes) AS "event!"
        FROM audit_events
        WHERE action LIKE 'api_key.%'
        ORDER BY id
        "#
    )
    .fetch_all(&mut app.db.look_into(founder.tenant).await)
    .await
    .unwrap()
}
