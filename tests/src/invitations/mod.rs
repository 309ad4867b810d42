//! Invitations, from the mail in somebody's mailbox to the member they become.

mod accept;
mod create;
mod escalation;
mod mails;
mod manage;
mod parallel;

use http::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::harness::{Answer, App, Client, Founder, Mail, Options, PASSWORD, Relay, eventually, run};

/// A product that mails through a relay, and a company in it.
pub(super) struct Scene {
    pub(super) relay: Relay,
    pub(super) app: App,
    pub(super) ada: Founder,
}

impl Scene {
    pub(super) async fn new() -> Self {
        Self::with(Relay::start().await, vec![]).await
    }

    pub(super) async fn with(relay: Relay, more: Vec<(&'static str, String)>) -> Self {
        let settings = relay.settings().into_iter().chain(more).collect();
        let app = App::with(Options {
            settings,
            ..Options::default()
        })
        .await;
        let ada = app.founder("acme").await;
        Self { relay, app, ada }
    }

    /// The id of a role of the company.
    pub(super) async fn role(&self, name: &str) -> String {
        role(&self.app, &self.ada, name).await
    }

    /// A role of the company's own, with these permissions.
    pub(super) async fn make_role(&self, name: &str, permissions: &[&str]) -> String {
        let values: Vec<_> = permissions.iter().map(|one| format!("('{one}')")).collect();
        self.run(&format!(
            "WITH made AS (INSERT INTO roles (id, name, description, is_system) \
             VALUES (gen_random_uuid(), '{name}', '', false) RETURNING id) \
             INSERT INTO role_permissions (role_id, permission) \
             SELECT made.id, p.permission FROM made, (VALUES {}) AS p (permission)",
            values.join(", ")
        ))
        .await;
        self.role(name).await
    }

    /// Sends an invitation of the company's founder; gives it.
    pub(super) async fn invite(&self, email: &str, role: &str) -> Value {
        let wanted = json!({ "email": email, "role_ids": [self.role(role).await] });
        self.ada.client.post("/api/v1/invitations", &wanted).await.expect(201)
    }

    /// The same, and the text behind the link of its mail.
    pub(super) async fn invited(&self, email: &str, role: &str) -> (String, String) {
        let invitation = self.invite(email, role).await;
        let token = self.token(&email.to_lowercase(), 0).await;
        (format!("/api/v1/invitations/{}", text(&invitation, "id")), token)
    }

    /// The text behind the link of the `n`th mail that invites this address, from 0.
    pub(super) async fn token(&self, email: &str, n: usize) -> String {
        eventually("the mail arrives", async || {
            let mails = self.relay.mails(0).await;
            let texts = mails.iter().filter(|mail| mail.to == email).map(decoded);
            let mut mails = texts.filter_map(|text| {
                let (_, rest) = text.split_once("/accept-invitation#token=")?;
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')?;
                Some(rest[..end].to_owned())
            });
            mails.nth(n)
        })
        .await
    }

    /// Somebody who became a member with this role by an invitation, signed in.
    pub(super) async fn join(&self, email: &str, role: &str) -> Founder {
        let (_, token) = self.invited(email, role).await;
        self.accept_new(&token).await.expect(200);
        self.app.enter(email, self.ada.tenant).await
    }

    /// Accepts as somebody without an account.
    pub(super) async fn accept_new(&self, token: &str) -> Answer {
        let person = json!({ "token": token, "password": PASSWORD, "first_name": "Bob", "last_name": "Babbage" });
        self.app.client.post("/api/v1/invitations/accept", &person).await
    }

    pub(super) async fn lookup(&self, token: &str) -> Answer {
        let wanted = json!({ "token": token });
        self.app.client.post("/api/v1/invitations/lookup", &wanted).await
    }

    /// Somebody with an account of this address, signed in to no tenant.
    pub(super) async fn person(&self, email: &str, is_verified: bool) -> Client {
        let pair = self.app.register(email).await;
        if is_verified {
            let verified = format!("UPDATE control.identities SET email_verified_at = now() WHERE email = '{email}'");
            run(&mut self.app.db.connect("postgres").await, &verified).await;
        }
        self.app.client.with_token(text(&pair, "access_token"))
    }

    /// Runs a statement in the company's schema.
    pub(super) async fn run(&self, sql: &str) {
        run(&mut self.app.db.look_into(self.ada.tenant).await, sql).await;
    }

    /// A number from the company's schema.
    pub(super) async fn count(&self, sql: &str) -> i64 {
        let mut connection = self.app.db.look_into(self.ada.tenant).await;
        let count = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()));
        count.fetch_one(&mut connection).await.unwrap()
    }
}

/// The mail as its reader has it: long lines travel in pieces (RFC 2045, 6.7).
pub(crate) fn decoded(mail: &Mail) -> String {
    mail.text.replace("=\n", "").replace("=3D", "=")
}

/// The random part of the text behind a link.
pub(super) fn secret(token: &str) -> &str {
    token.splitn(4, '_').nth(3).unwrap()
}

pub(crate) async fn role(app: &App, founder: &Founder, name: &str) -> String {
    let mut connection = app.db.look_into(founder.tenant).await;
    let id: uuid::Uuid = sqlx::query_scalar("SELECT id FROM roles WHERE name = $1")
        .bind(name)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    bulkhead_kernel::ids::RoleId::from(id).to_string()
}

pub(super) fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}"))
}

pub(super) async fn accept(client: &Client, token: &str) -> Answer {
    client
        .post("/api/v1/invitations/accept", &json!({ "token": token }))
        .await
}

pub(super) async fn patch(client: &Client, path: &str, body: &Value) -> Answer {
    client
        .send(Method::PATCH, path, "application/json", body.to_string())
        .await
}

pub(super) async fn resend(client: &Client, path: &str) -> Answer {
    client.post(&format!("{path}/resend"), &json!({})).await
}
