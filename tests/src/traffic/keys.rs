//! What the product leaves in Redis.

use bulkhead_kernel::ids::TenantId;
use bulkhead_traffic::redis::GLOBAL;
use serde_json::json;

use crate::harness::{App, Options, PASSWORD, RedisServer, run};

/// The part of a key that says whose it is: `installation:{this}:name`.
fn tag(key: &str) -> Option<&str> {
    let (_, rest) = key.split_once(":{")?;
    Some(rest.split_once("}:")?.0)
}

fn is_of_a_tenant_or_global(key: &str) -> bool {
    tag(key).is_some_and(|tag| {
        let kind = tag.split_once(':').map(|(kind, _)| kind);
        tag.parse::<TenantId>().is_ok() || kind.is_some_and(|kind| GLOBAL.contains(&kind))
    })
}

#[tokio::test]
async fn every_key_carries_its_tenant_or_is_on_the_short_list() {
    for (key, is_fine) in [
        ("b:{org_0190a1b2c3d47e5f8091a2b3c4d5e6f7}:vm_1", true),
        ("b:{ip:10.0.0.1}:failures", true),
        ("b:{project:7}:total", false),
        ("b:vm_0190a1b2c3d47e5f8091a2b3c4d5e6f7", false),
    ] {
        assert_eq!(is_of_a_tenant_or_global(key), is_fine, "{key}");
    }

    let redis = RedisServer::start().await;
    let settings = vec![("BULKHEAD__REDIS__URL", redis.url())];
    let app = App::with(Options {
        settings,
        ..Options::default()
    })
    .await;
    let founders = [app.founder("acme").await, app.founder("bolt").await];
    // The same machine id in both tenants.
    let object = "0190a1b2-c3d4-7e5f-8091-a2b3c4d5e6f7";
    for founder in &founders {
        let insert = format!(
            "INSERT INTO vms (id, name, source_type, iso_url, cpu, memory_gb, disk_gb, created_by, created_at, updated_at) \
             VALUES ('{object}', '{}', 'iso', 'https://example.com/x.iso', 1, 1, 1, 'test', now(), now())",
            founder.slug
        );
        run(&mut app.db.look_into(founder.tenant).await, &insert).await;
    }
    for founder in &founders {
        let path = format!("/api/v1/vms/vm_{}", object.replace('-', ""));
        assert_eq!(founder.client.get(&path).await.expect(200)["name"], founder.slug);
        for path in ["/api/v1/whoami", "/api/v1/vms", "/api/v1/users"] {
            founder.client.get(path).await.expect(200);
        }
        let credentials = json!({ "email": founder.email, "password": format!("not {PASSWORD}") });
        app.client
            .post("/api/v1/auth/login", &credentials)
            .await
            .expect_problem(401, "credentials_invalid");
    }
    let keys = redis.ask("KEYS *").await;
    let keys: Vec<&str> = keys.lines().filter(|line| line.contains("test_")).collect();
    assert!(keys.len() >= 4, "{keys:?}");
    for key in &keys {
        assert!(is_of_a_tenant_or_global(key), "{key} is nobody's");
    }
    let size = redis.ask("DBSIZE").await;
    assert_eq!(
        size.lines().next(),
        Some(format!(":{}", keys.len()).as_str()),
        "{keys:?}"
    );
}
