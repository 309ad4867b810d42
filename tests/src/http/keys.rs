//! The signing keys as others see them.

use tokio::process::Command;

use crate::harness::{App, Options, eventually, server::path_of};

const JWKS: &str = "/.well-known/jwks.json";

async fn signing(app: &App) -> String {
    let keys = app.client.get(JWKS).await.expect(200);
    keys["keys"][0]["kid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_key_that_an_operator_announces_is_published_at_once_and_takes_over_while_people_go_on() {
    let app = App::with(Options {
        without_worker: true,
        ..Options::default()
    })
    .await;
    let pair = app.register("ada@example.com").await;
    let ada = app.client.with_token(pair["access_token"].as_str().unwrap());
    let first = signing(&app).await;
    let output = Command::new(path_of("bulkhead-api"))
        .args(["rotate-keys", "--after-secs", "3"])
        .env_clear()
        .envs(app.env.iter().map(|(name, value)| (name, value)))
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let next = eventually("the next key signs", async || {
        let now = signing(&app).await;
        (now != first).then_some(now)
    })
    .await;
    assert!(said.contains(&next), "{said}");
    ada.get("/api/v1/users/me").await.expect(200);
    let credentials = serde_json::json!({ "email": "ada@example.com", "password": crate::harness::PASSWORD });
    let pair = app.client.post("/api/v1/auth/login", &credentials).await.expect(200);
    let ada = app.client.with_token(pair["access_token"].as_str().unwrap());
    ada.get("/api/v1/users/me").await.expect(200);
}

#[tokio::test]
async fn the_key_set_is_kept_by_those_who_have_it() {
    let app = App::with(Options {
        without_worker: true,
        ..Options::default()
    })
    .await;
    let answer = app.client.get(JWKS).await;
    assert_eq!(answer.headers["cache-control"], "public, max-age=300");
    let tag = answer.headers["etag"].to_str().unwrap().to_owned();
    let known = app.client.with_header("if-none-match", &tag).get(JWKS).await;
    assert_eq!((known.status.as_u16(), known.text.as_str()), (304, ""));
    assert_eq!(known.headers["etag"], tag.as_str());
    let other = app.client.with_header("if-none-match", "\"another\"").get(JWKS).await;
    other.expect(200);
    for key in answer.expect(200)["keys"].as_array().unwrap() {
        let members: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["alg", "e", "kid", "kty", "n", "use"]);
    }
}
