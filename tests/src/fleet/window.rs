//! The versions a process serves, as its callers see them.

use bulkhead_tenancy::SERVED_VERSIONS;

use crate::harness::{App, run};

#[tokio::test]
async fn a_tenant_outside_the_window_is_refused_and_the_others_are_served() {
    let app = App::start().await;
    let (ada, bob) = (app.founder("acme").await, app.founder("bolt").await);
    let service = app.client.get("/").await.expect(200);
    assert_eq!(service["schema_versions"]["oldest"], *SERVED_VERSIONS.start());
    assert_eq!(service["schema_versions"]["newest"], *SERVED_VERSIONS.end());

    let mut admin = app.db.connect("postgres").await;
    for version in [SERVED_VERSIONS.start() - 1, SERVED_VERSIONS.end() + 1] {
        let move_acme = format!("UPDATE control.tenants SET schema_version = {version} WHERE slug = 'acme'");
        run(&mut admin, &move_acme).await;
        for path in ["/api/v1/whoami", "/api/v1/users", "/api/v1/vms"] {
            let refused = ada.client.get(path).await;
            let problem = refused.expect_problem(503, "tenant_version_not_served");
            assert!(!problem.to_string().contains("t_0"), "{problem}");
            bob.client.get(path).await.expect(200);
        }
    }
    // No epoch was raised: the next request looks at the version anew.
    for version in SERVED_VERSIONS {
        let move_acme = format!("UPDATE control.tenants SET schema_version = {version} WHERE slug = 'acme'");
        run(&mut admin, &move_acme).await;
        ada.client.get("/api/v1/users").await.expect(200);
    }
}
