//! Somebody tries passwords.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::harness::{App, Client, Options, PASSWORD, RedisServer, eventually, server::Server};

const ADA: &str = "ada@example.com";

fn credentials(email: &str, password: &str) -> Value {
    json!({ "email": email, "password": password })
}

/// Ten wrong passwords are looked at, the eleventh is not, and then neither is the right one.
async fn assert_eleventh_is_refused(client: &Client, email: &str) -> Value {
    for n in 0..10 {
        // What a request claims of its origin changes nothing.
        let client = client.with_header("x-forwarded-for", format!("198.51.100.{n}"));
        let answer = client
            .post("/api/v1/auth/login", &credentials(email, "wrong password"))
            .await;
        answer.expect_problem(401, "credentials_invalid");
    }
    let form = format!("username={email}&password=wrong");
    let answer = client
        .send(
            http::Method::POST,
            "/api/v1/auth/token",
            "application/x-www-form-urlencoded",
            form,
        )
        .await;
    answer.expect_problem(429, "rate_limited");
    let answer = client.post("/api/v1/auth/login", &credentials(email, PASSWORD)).await;
    let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((600..=900).contains(&wait), "{wait}");
    answer.expect_problem(429, "rate_limited")
}

#[tokio::test]
async fn the_eleventh_wrong_password_is_refused_with_and_without_redis_and_for_unknown_accounts_alike() {
    for redis in [None, Some("redis://127.0.0.1:1")] {
        let app = App::with(Options {
            settings: redis
                .map(|url| ("BULKHEAD__REDIS__URL", url.into()))
                .into_iter()
                .collect(),
            without_worker: true,
            ..Options::default()
        })
        .await;
        app.register(ADA).await;
        let known = assert_eleventh_is_refused(&app.client, ADA).await;
        let unknown = assert_eleventh_is_refused(&app.client, "nobody@example.com").await;
        for member in ["type", "title", "detail"] {
            assert_eq!(known[member], unknown[member]);
        }
        let metrics = app.internal.get("/metrics").await;
        let is_up = u8::from(redis.is_none());
        assert!(
            metrics.text.contains(&format!("\nredis_up {is_up}\n")),
            "{}",
            metrics.text
        );
        assert!(
            metrics.text.contains(r#"auth_refusals_total{reason="guessing"}"#),
            "{}",
            metrics.text
        );
        app.client.get("/readyz").await.expect(200);
    }
}

#[tokio::test]
async fn processes_count_together() {
    let app = App::with(Options {
        without_worker: true,
        ..Options::default()
    })
    .await;
    let other = Server::start("bulkhead-api", &app.env).await;
    assert_eleventh_is_refused(&app.client, ADA).await;
    let answer = Client::new(other.url("public"))
        .post("/api/v1/auth/login", &credentials(ADA, PASSWORD))
        .await;
    answer.expect_problem(429, "rate_limited");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_stranger_cannot_lock_the_owner_out() {
    let app = App::with(Options {
        without_worker: true,
        ..Options::default()
    })
    .await;
    app.register(ADA).await;
    // On Linux all of 127.0.0.0/8 is this machine.
    let stranger = app.client.at_address(IpAddr::from([127, 0, 0, 2]));
    assert_eleventh_is_refused(&stranger, ADA).await;
    app.client
        .post("/api/v1/auth/login", &credentials(ADA, PASSWORD))
        .await
        .expect(200);
    stranger
        .post("/api/v1/auth/login", &credentials(ADA, PASSWORD))
        .await
        .expect_problem(429, "rate_limited");
}

#[tokio::test]
async fn signing_in_goes_on_while_redis_is_paused() {
    let redis = RedisServer::start().await;
    let app = App::with(Options {
        settings: vec![
            ("BULKHEAD__REDIS__URL", redis.url()),
            ("BULKHEAD__REDIS__TIMEOUT_MS", "50".into()),
        ],
        without_worker: true,
        ..Options::default()
    })
    .await;
    app.register(ADA).await;
    let is_up = async || {
        let metrics = app.internal.get("/metrics").await.text;
        metrics.contains("\nredis_up 1\n")
    };
    redis.pause().await;
    app.client
        .post("/api/v1/auth/login", &credentials(ADA, PASSWORD))
        .await
        .expect(200);
    eventually("the outage is seen", async || (!is_up().await).then_some(())).await;
    assert_eleventh_is_refused(&app.client, ADA).await;
    app.client.get("/readyz").await.expect(200);
    redis.resume().await;
    eventually("the recovery is seen", async || is_up().await.then_some(())).await;
    // One line per change; that it answered at the start was said before it listened.
    let news = eventually("both changes are in the log", async || {
        let log = app.api.log().into_iter();
        let news: Vec<_> = log.filter(|line| line.contains("bulkhead_traffic::redis")).collect();
        (news.len() >= 2 && news.len() % 2 == 0).then_some(news)
    })
    .await;
    for change in news.chunks(2) {
        assert!(
            change[0].contains("redis is away") && change[1].contains("redis answers"),
            "{news:?}"
        );
    }
}

#[tokio::test]
async fn a_copied_refresh_token_ends_its_session_and_is_told_to_operators() {
    let app = App::with(Options {
        without_worker: true,
        ..Options::default()
    })
    .await;
    let pair = app.register(ADA).await;
    let refresh = async |pair: &Value| {
        let body = json!({ "refresh_token": pair["refresh_token"] });
        app.client.post("/api/v1/auth/refresh", &body).await
    };
    let second = refresh(&pair).await.expect(200);
    let third = refresh(&second).await.expect(200);
    refresh(&pair).await.expect_problem(401, "refresh_token_invalid");
    refresh(&third).await.expect_problem(401, "refresh_token_invalid");
    let metrics = app.internal.get("/metrics").await.text;
    assert!(
        metrics.contains(r#"auth_refusals_total{reason="reuse"} 1"#),
        "{metrics}"
    );
    eventually("the log tells of it", async || {
        let log = app.api.log();
        log.iter()
            .any(|line| line.contains("used twice") && line.contains("ses_"))
            .then_some(())
    })
    .await;
}
