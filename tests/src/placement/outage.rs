//! Home goes away, and the tenants of other clusters go on.

use std::time::{Duration, Instant};

use bulkhead_iam::{
    Iam,
    members::service::authority_now,
    sessions::{TokenPair, watch::Watch},
};
use bulkhead_kernel::{
    fault::{Code, Fault},
    ids::TenantId,
};
use bulkhead_tenants::moves;
use serde_json::{Value, json};

use super::{cluster_b, http::Two, origin, settings_of};
use crate::{
    harness::{Options, PASSWORD, Postgres, TestDb, eventually, run},
    iam::Desk,
};

#[tokio::test]
async fn known_tenants_of_other_clusters_are_read_and_written_without_home_and_all_recovers_by_itself() {
    let home = Postgres::start().await;
    let options = Options {
        db: Some(TestDb::on(home.url()).await),
        settings: vec![("BULKHEAD__DATABASE__ACQUIRE_TIMEOUT_MS", "1000".into())],
        ..Options::default()
    };
    let two = Two::with("b", options).await;
    let app = &two.app;
    let (ada, bolt, operator) = (
        app.founder("acme").await,
        app.founder("bolt").await,
        app.operator().await,
    );
    let path = format!("/api/v1/platform/tenants/{}/move", bolt.tenant);
    let begun = operator.post(&path, &json!({ "cluster": "home" })).await.expect(202);
    let path = format!("{path}s/{}", begun["id"].as_str().unwrap());
    eventually("bolt is at home", async || {
        (operator.get(&path).await.expect(200)["state"] == "done").then_some(())
    })
    .await;
    let key = json!({ "name": "deploy", "owner": "member", "scopes": ["vm:read"] });
    let key = ada.client.post("/api/v1/api-keys", &key).await.expect(201);
    let key = app.client.with_header("x-api-key", key["key"].as_str().unwrap());
    let gone = app.enter(&ada.email, ada.tenant).await;
    for client in [&ada.client, &key, &bolt.client, &gone.client] {
        client.get("/api/v1/vms").await.expect(200);
    }
    gone.client.post("/api/v1/auth/logout", &json!({})).await.expect(204);
    home.stop().await;

    // Longer than anything is remembered without asking.
    let begun = Instant::now();
    for n in 0.. {
        ada.client.get("/api/v1/vms").await.expect(200);
        key.get("/api/v1/vms").await.expect(200);
        if n % 50 == 0 {
            let resource = json!({ "type": "note", "name": format!("written without home {n}"), "attributes": {} });
            ada.client.post("/api/v1/resources", &resource).await.expect(201);
            ada.client.get("/api/v1/whoami").await.expect(200);
            let status = gone.client.get("/api/v1/vms").await.status.as_u16();
            assert!([401, 503].contains(&status), "who signed out stays out: {status}");
        }
        if begun.elapsed() > Duration::from_secs(12) {
            break;
        }
    }
    bolt.client
        .get("/api/v1/vms")
        .await
        .expect_problem(503, "database_unavailable");
    let credentials = json!({ "email": ada.email, "password": PASSWORD });
    let refresh = json!({ "refresh_token": ada.refresh_token });
    for (path, body) in [("/api/v1/auth/login", &credentials), ("/api/v1/auth/refresh", &refresh)] {
        let refused = app.client.post(path, body).await;
        refused.expect_problem(503, "database_unavailable");
        assert!(refused.headers.contains_key("retry-after"), "{path}");
    }
    let ready = app.client.get("/readyz").await.expect(200);
    assert_eq!(ready, json!({ "is_ready": true, "reasons": ["home_unreachable"] }));

    home.resume().await;
    eventually("home is served", async || {
        (bolt.client.get("/api/v1/vms").await.status == 200).then_some(())
    })
    .await;
    app.client.post("/api/v1/auth/refresh", &refresh).await.expect(200);
    assert_eq!(app.client.get("/readyz").await.expect(200)["reasons"], json!([]));
    gone.client
        .get("/api/v1/vms")
        .await
        .expect_problem(401, "session_ended");
    let founded = bolt
        .client
        .post("/api/v1/tenants", &json!({ "name": "after the storm" }))
        .await
        .expect(202);
    let path = format!("/api/v1/tenants/{}", founded["id"].as_str().unwrap());
    eventually("the worker recovers", async || {
        let tenant: Value = bolt.client.get(&path).await.expect(200);
        (tenant["status"] == "active").then_some(())
    })
    .await;
}

/// What refuses somebody in this very moment.
async fn refused(iam: &Iam, tenant: TenantId, pair: &TokenPair) -> Option<Code> {
    let found = authority_now(iam, tenant, pair.identity, pair.session).await;
    found.err().map(|error| error.code())
}

#[tokio::test]
async fn what_ended_before_home_went_away_stays_ended_and_rights_come_from_the_tenant() {
    let (home, other) = (Postgres::start().await, Postgres::start().await);
    let b = TestDb::on(other.url()).await;
    let settings = settings_of(&b);
    let mut settings: Vec<_> = settings
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    settings.push(("BULKHEAD__DATABASE__ACQUIRE_TIMEOUT_MS", "2000"));
    let desk = Desk::over(TestDb::on(home.url()).await, &settings);
    let ada = desk.register("ada@example.com").await;
    let acme = desk.tenant("acme", ada).await;
    for email in ["bob@example.com", "carl@example.com"] {
        desk.member(acme, email, &["viewer"]).await;
    }
    let begun = moves::service::start(&origin(), &desk.db, acme, &cluster_b())
        .await
        .unwrap();
    moves::carry_out(&desk.db, begun.id, None).await.unwrap();

    let (strict_db, strict) = desk.another_with("BULKHEAD__DATABASE__SERVE_WITHOUT_HOME_SECS", "0");
    let mut watch = Watch::new(&desk.clock);
    let (first, ended, unseen) = (
        desk.sign_in("ada@example.com").await,
        desk.sign_in("ada@example.com").await,
        desk.sign_in("ada@example.com").await,
    );
    let (bob, carl) = (
        desk.sign_in("bob@example.com").await,
        desk.sign_in("carl@example.com").await,
    );
    for pair in [&first, &ended, &bob, &carl] {
        assert_eq!(refused(&desk.iam, acme, pair).await, None);
    }
    assert_eq!(refused(&strict, acme, &first).await, None);
    // Another process ends a session and switches an account off; nobody asks us for either before home is away.
    desk.run(&format!(
        "UPDATE control.sessions SET revoked_at = to_timestamp({}), revoked_reason = 'ended' WHERE id = '{}'",
        desk.clock.now().timestamp(),
        ended.session.uuid()
    ))
    .await;
    desk.run("UPDATE control.identities SET status = 'disabled' WHERE email = 'bob@example.com'")
        .await;
    watch.follow(&desk.iam).await.unwrap();
    home.stop().await;

    assert_eq!(refused(&desk.iam, acme, &first).await, None);
    for pair in [&ended, &bob, &unseen] {
        assert_eq!(refused(&desk.iam, acme, pair).await, Some(Code::DatabaseUnavailable));
    }
    assert!(watch.follow(&desk.iam).await.is_err());
    assert_eq!(refused(&desk.iam, acme, &first).await, None);
    // The bound is the setting; without it nobody is served.
    assert!(strict_db.control().await.is_err());
    assert_eq!(refused(&strict, acme, &first).await, Some(Code::DatabaseUnavailable));
    assert_eq!(refused(&desk.iam, acme, &carl).await, None);
    run(
        &mut b.look_into(acme).await,
        "UPDATE members SET status = 'inactive' WHERE email = 'carl@example.com'",
    )
    .await;
    assert_eq!(refused(&desk.iam, acme, &carl).await, Some(Code::TenantNotFound));

    home.resume().await;
    eventually("home is asked again", async || {
        refused(&desk.iam, acme, &unseen).await.is_none().then_some(())
    })
    .await;
    assert_eq!(refused(&desk.iam, acme, &ended).await, Some(Code::SessionEnded));
    assert_eq!(refused(&desk.iam, acme, &bob).await, Some(Code::SessionEnded));
}
