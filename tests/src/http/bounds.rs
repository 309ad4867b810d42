//! What strangers may do with links and keys, and how often an invitation is mailed, is bounded.

use serde_json::json;

use crate::harness::{Answer, App, Client, Founder, Options};

const LOOKUP: &str = "/api/v1/invitations/lookup";
const ACCEPT: &str = "/api/v1/invitations/accept";
const REPORT: &str = "/api/v1/api-keys/report-leak";

const LIMITS: [(&str, &str); 3] = [
    ("BULKHEAD__AUTH__LINK_CALLS_PER_LINK", "3"),
    ("BULKHEAD__AUTH__LINK_CALLS_PER_ADDRESS", "5"),
    ("BULKHEAD__AUTH__RESENDS_PER_INVITATION", "2"),
];

/// With Redis, and with one that nobody answers for.
const REDIS: [Option<&str>; 2] = [None, Some("redis://127.0.0.1:1")];

async fn product(redis: Option<&str>) -> (App, Founder) {
    let redis = redis.map(|url| ("BULKHEAD__REDIS__URL", url));
    let settings = LIMITS.into_iter().chain(redis);
    let app = App::with(Options {
        settings: settings.map(|(name, value)| (name, value.to_owned())).collect(),
        ..Options::default()
    })
    .await;
    let ada = app.founder("acme").await;
    (app, ada)
}

async fn present(client: &Client, path: &str, text: &str) -> Answer {
    let name = if path == REPORT { "key" } else { "token" };
    client.post(path, &json!({ name: text })).await
}

#[track_caller]
fn assert_refused(answer: &Answer) {
    answer.expect_problem(429, "rate_limited");
    let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=3600).contains(&wait), "{wait}");
}

#[tokio::test]
async fn a_link_is_looked_at_and_an_address_heard_only_so_often_with_redis_and_without() {
    for redis in REDIS {
        let (app, ada) = product(redis).await;
        let (here, there) = (&app.client, app.client.at_address([127, 0, 0, 2].into()));
        for path in [LOOKUP, ACCEPT] {
            present(here, path, "one")
                .await
                .expect_problem(404, "invitation_invalid");
        }
        present(&there, LOOKUP, "one")
            .await
            .expect_problem(404, "invitation_invalid");
        for (client, path) in [(here, ACCEPT), (&there, LOOKUP), (&there, REPORT)] {
            assert_refused(&present(client, path, "one").await);
        }
        // What was refused took nothing, so this address has three calls left.
        for text in ["two", "three", "four"] {
            present(here, REPORT, text).await.expect(202);
        }
        for path in [LOOKUP, ACCEPT, REPORT] {
            assert_refused(&present(here, path, "five").await);
        }
        present(&there, LOOKUP, "five")
            .await
            .expect_problem(404, "invitation_invalid");
        // Who is signed in goes on.
        ada.client.get("/api/v1/invitations").await.expect(200);
    }
}

#[tokio::test]
async fn an_invitation_is_sent_again_only_so_often_with_redis_and_without() {
    for redis in REDIS {
        let (app, ada) = product(redis).await;
        let viewer = crate::invitations::role(&app, &ada, "viewer").await;
        let invite = async |email: &str| {
            let wanted = json!({ "email": email, "role_ids": [viewer] });
            let made = ada.client.post("/api/v1/invitations", &wanted).await.expect(201);
            format!("/api/v1/invitations/{}/resend", made["id"].as_str().unwrap())
        };
        let (bob, carl) = (invite("bob@example.com").await, invite("carl@example.com").await);
        let resend = async |path: &str, days: i64| ada.client.post(path, &json!({ "expires_in_days": days })).await;
        // What is refused sends no mail and takes nothing.
        for _ in 0..3 {
            app.client
                .post(&bob, &json!({}))
                .await
                .expect_problem(401, "unauthenticated");
            resend(&bob, 31).await.expect_problem(422, "validation");
        }
        resend(&bob, 1).await.expect(200);
        resend(&bob, 2).await.expect(200);
        assert_refused(&resend(&bob, 3).await);
        resend(&carl, 3).await.expect(200);
        let revoked = carl.trim_end_matches("/resend");
        assert_eq!(ada.client.delete(revoked).await.status, 204);
        for _ in 0..3 {
            resend(&carl, 3).await.expect_problem(409, "invitation_closed");
        }
    }
}
