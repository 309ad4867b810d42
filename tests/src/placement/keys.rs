//! API keys of members of a tenant in another cluster: checked there, by what their owners hold there.

use serde_json::json;

use super::http::Two;
use crate::harness::{eventually, run};

#[tokio::test]
async fn a_members_key_is_checked_where_the_tenant_lives_and_loses_what_its_owner_loses() {
    let two = Two::new("b").await;
    let ada = two.app.founder("acme").await;
    let wanted = json!({ "name": "deploy", "owner": "member", "scopes": ["vm:read", "user:read"] });
    let mut minted = Vec::new();
    for _ in 0..2 {
        let key = ada.client.post("/api/v1/api-keys", &wanted).await.expect(201);
        let program = two.app.client.with_header("x-api-key", key["key"].as_str().unwrap());
        program.get("/api/v1/users").await.expect(200);
        minted.push((key["id"].as_str().unwrap().to_owned(), program));
    }
    let [(revoked, first), (_, second)] = &minted[..] else {
        panic!("two")
    };
    ada.client
        .delete(&format!("/api/v1/api-keys/{revoked}"))
        .await
        .expect(204);
    eventually("the revocation has bitten", async || {
        (first.get("/api/v1/users").await.status == 401).then_some(())
    })
    .await;
    first.get("/api/v1/users").await.expect_problem(401, "api_key_invalid");
    second.get("/api/v1/users").await.expect(200);

    // The owner's rights are those of the cluster's rows; home has none of them.
    let take = "DELETE FROM role_permissions WHERE permission = 'user:read'";
    run(&mut two.b.look_into(ada.tenant).await, take).await;
    eventually("the key has lost what its owner lost", async || {
        (second.get("/api/v1/users").await.status == 403).then_some(())
    })
    .await;
    second.get("/api/v1/vms").await.expect(200);
    // The owner is a person of home's.
    let off = "UPDATE control.identities SET status = 'disabled'";
    run(&mut two.app.db.connect("postgres").await, off).await;
    eventually("the key of an account that is off is nobody's", async || {
        (second.get("/api/v1/vms").await.status == 401).then_some(())
    })
    .await;
}
