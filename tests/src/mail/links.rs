//! The links in mails, from the mailbox to the API.

use serde_json::{Value, json};

use super::{jobs, start, subjects};
use crate::harness::{App, Client, Mail, Options, PASSWORD, Relay, eventually};

/// The secret in the link of a mail, which stands in both of its parts.
fn secret(mail: &Mail, page: &str) -> String {
    let link = format!("https://app.example.com/{page}#token=");
    let whole = mail.text.replace("=\n", "").replace("=3D", "=");
    let mut secrets = whole.split(link.as_str()).skip(1).map(|rest| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        rest.chars().take_while(|c| is_part(*c)).collect::<String>()
    });
    let secret = secrets.next().unwrap_or_else(|| panic!("no link in {}", mail.text));
    assert!(secrets.all(|other| other == secret), "{}", mail.text);
    assert_eq!(secret.len(), 43);
    secret
}

async fn register(app: &App, email: &str) {
    let person = json!({ "email": email, "password": PASSWORD, "first_name": "Ada", "last_name": "Lovelace" });
    app.client.post("/api/v1/auth/register", &person).await.expect(201);
}

async fn sign_in(client: &Client, email: &str, password: &str) -> crate::harness::Answer {
    let credentials = json!({ "email": email, "password": password });
    client.post("/api/v1/auth/login", &credentials).await
}

/// Waits until no mail is under way: while one is, nobody gets a second one of its kind.
async fn idle(app: &App) {
    eventually("no mail is under way", async || {
        let jobs = jobs(app).await;
        jobs.iter().all(|job| job.contains(r#""state":"done""#)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn whoever_follows_the_link_to_their_address_may_sign_in() {
    let relay = Relay::start().await;
    let mut settings = relay.settings();
    settings.push(("BULKHEAD__AUTH__REQUIRE_VERIFIED_EMAIL", "true".into()));
    let app = App::with(Options {
        settings,
        ..Options::default()
    })
    .await;
    register(&app, "ada@example.org").await;
    sign_in(&app.client, "ada@example.org", PASSWORD)
        .await
        .expect_problem(403, "email_unverified");
    let first = secret(&relay.mails(1).await[0], "verify-email");
    idle(&app).await;
    let ask = json!({ "email": "ada@example.org" });
    app.client
        .post("/api/v1/auth/verify-email/resend", &ask)
        .await
        .expect(202);
    let second = secret(&relay.mails(2).await[1], "verify-email");
    assert_ne!(first, second);
    let wrong = json!({ "token": "A".repeat(43) });
    app.client
        .post("/api/v1/auth/verify-email", &wrong)
        .await
        .expect_problem(422, "link_invalid");
    app.client
        .post("/api/v1/auth/verify-email", &json!({ "token": first }))
        .await
        .expect(204);
    for used in [&first, &second] {
        app.client
            .post("/api/v1/auth/verify-email", &json!({ "token": used }))
            .await
            .expect_problem(422, "link_invalid");
    }
    sign_in(&app.client, "ada@example.org", PASSWORD).await.expect(200);
    for trace in jobs(&app)
        .await
        .iter()
        .chain(&app.api.log())
        .chain(&app.worker.as_ref().unwrap().log())
    {
        let tells = trace.contains(&first) || trace.contains(&second) || trace.contains("ada@");
        assert!(!tells, "{trace}");
    }
    // Of the secret the database has the hash and nothing else.
    let ask = json!({ "email": "ada@example.org" });
    app.client.post("/api/v1/auth/password/forgot", &ask).await.expect(202);
    let reset = secret(&relay.mails(3).await[2], "reset-password");
    let mut connection = app.db.connect("postgres").await;
    let rows = sqlx::query_scalar!(r#"SELECT row_to_json(l)::text AS "row!" FROM control.mail_links AS l"#)
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert!(rows.len() == 1 && !rows[0].contains(&reset), "{rows:?}");
}

#[tokio::test]
async fn a_forgotten_password_is_renewed_by_mail_and_a_stranger_gets_the_same_answer_and_no_mail() {
    let relay = Relay::start().await;
    let app = start(&relay).await;
    register(&app, "ada@example.org").await;
    let pair = sign_in(&app.client, "ada@example.org", PASSWORD).await.expect(200);
    relay.mails(1).await;
    let mut answers = Vec::new();
    for address in ["nobody@example.org", "ada@example.org"] {
        let ask = json!({ "email": address });
        let answer = app.client.post("/api/v1/auth/password/forgot", &ask).await;
        let mut headers = answer.headers.clone();
        for own in ["x-request-id", "date"] {
            headers.remove(own);
        }
        answers.push((answer.status, answer.text, headers));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].0, 202);
    let token = secret(&relay.mails(2).await[1], "reset-password");
    let weak = json!({ "token": token, "password": "short" });
    let problem = app.client.post("/api/v1/auth/password/reset", &weak).await;
    assert_eq!(
        problem.expect_problem(422, "validation")["errors"][0]["pointer"],
        "/password"
    );
    let renewed = json!({ "token": token, "password": "quite another password" });
    app.client
        .post("/api/v1/auth/password/reset", &renewed)
        .await
        .expect(204);
    let before = app.client.with_token(pair["access_token"].as_str().unwrap());
    before
        .get("/api/v1/users/me")
        .await
        .expect_problem(401, "session_ended");
    sign_in(&app.client, "ada@example.org", "quite another password")
        .await
        .expect(200);
    let mails = relay.mails(3).await;
    assert_eq!(
        subjects(&mails),
        ["Your account", "Choose another password", "Your password was changed"]
    );
    assert!(mails.iter().all(|mail| mail.to == "ada@example.org"));
}

#[tokio::test]
async fn mails_are_asked_for_only_so_often_and_known_and_unknown_alike() {
    let app = App::with(Options {
        settings: vec![("BULKHEAD__AUTH__MAILS_PER_ACCOUNT", "2".into())],
        without_worker: true,
        ..Options::default()
    })
    .await;
    register(&app, "ada@example.org").await;
    let mut refusals: Vec<Value> = Vec::new();
    for address in ["ada@example.org", "nobody@example.org"] {
        let ask = json!({ "email": address });
        for path in ["password/forgot", "verify-email/resend"] {
            let path = format!("/api/v1/auth/{path}");
            app.client.post(&path, &ask).await.expect(202);
        }
        let refused = app.client.post("/api/v1/auth/password/forgot", &ask).await;
        refusals.push(refused.expect_problem(429, "rate_limited")["detail"].clone());
    }
    assert_eq!(refusals[0], refusals[1]);
    // Who cannot ask for mail any more can still sign in.
    sign_in(&app.client, "ada@example.org", PASSWORD).await.expect(200);
    let metrics = app.internal.get("/metrics").await.text;
    assert!(
        metrics.contains(r#"auth_refusals_total{reason="mails"} 2"#),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_password_is_changed_by_whoever_knows_it_and_guessing_it_is_bounded() {
    let app = App::with(Options {
        settings: vec![("BULKHEAD__AUTH__SIGN_IN_FAILURES_PER_ACCOUNT", "2".into())],
        without_worker: true,
        ..Options::default()
    })
    .await;
    let pair = app.register("ada@example.org").await;
    let ada = app.client.with_token(pair["access_token"].as_str().unwrap());
    let change = |present: &str| json!({ "current_password": present, "new_password": "quite another password" });
    for _ in 0..2 {
        let refused = ada
            .post("/api/v1/auth/password/change", &change("wrong password"))
            .await;
        let problem = refused.expect_problem(422, "validation");
        assert_eq!(problem["errors"][0]["pointer"], "/current_password");
    }
    let right = change(PASSWORD);
    ada.post("/api/v1/auth/password/change", &right)
        .await
        .expect_problem(429, "rate_limited");
    app.client
        .post("/api/v1/auth/password/change", &right)
        .await
        .expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn another_name_reaches_the_tenants_and_their_record() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let named = ada
        .client
        .send(
            http::Method::PATCH,
            "/api/v1/users/me",
            "application/json",
            r#"{"last_name":"King"}"#,
        )
        .await
        .expect(200);
    assert_eq!(
        (&named["first_name"], &named["last_name"]),
        (&json!("Ada"), &json!("King"))
    );
    eventually("the tenant's copy has followed", async || {
        let users = ada.client.get("/api/v1/users").await.expect(200);
        (users["items"][0]["last_name"] == "King").then_some(())
    })
    .await;
    let mut connection = app.db.look_into(ada.tenant).await;
    let event = sqlx::query!("SELECT action, changes FROM audit_events WHERE action = 'member.rename'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(
        event.changes,
        json!({ "last_name": { "before": "Lovelace", "after": "King" } })
    );
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_owner_at_a_new_address_gets_in_by_mail_while_strangers_guess() {
    let relay = Relay::start().await;
    let mut settings = relay.settings();
    settings.push(("BULKHEAD__AUTH__SIGN_IN_FAILURES_PER_ACCOUNT", "2".into()));
    let app = App::with(Options {
        settings,
        ..Options::default()
    })
    .await;
    register(&app, "ada@example.org").await;
    relay.mails(1).await;
    let at = |address: &str| app.client.at_address(address.parse().unwrap());
    let (stranger, owner) = (at("127.0.0.2"), at("127.0.0.3"));
    for _ in 0..2 {
        sign_in(&stranger, "ada@example.org", "wrong password")
            .await
            .expect_problem(401, "credentials_invalid");
    }
    sign_in(&owner, "ada@example.org", PASSWORD)
        .await
        .expect_problem(429, "rate_limited");
    let ask = json!({ "email": "ada@example.org" });
    owner.post("/api/v1/auth/password/forgot", &ask).await.expect(202);
    let token = secret(&relay.mails(2).await[1], "reset-password");
    let renewed = json!({ "token": token, "password": "quite another password" });
    owner.post("/api/v1/auth/password/reset", &renewed).await.expect(204);
    sign_in(&owner, "ada@example.org", "quite another password")
        .await
        .expect(200);
    sign_in(&stranger, "ada@example.org", "wrong password")
        .await
        .expect_problem(429, "rate_limited");
}
