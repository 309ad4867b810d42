//! Operators inside a tenant: refused without access, bounded with it, and seen.

use bulkhead_iam::{
    operators::service as operators,
    support_access::{Wanted, service as support},
};
use bulkhead_kernel::ids::{SessionId, SupportAccessId};
use chrono::Duration;
use http::Method;
use serde_json::{Value, json};

use super::{Pair, bites, first, id_of, new};
use crate::{
    harness::{App, Client, Founder, eventually},
    iam::{Desk, origin},
};

fn path(founder: &Founder) -> String {
    format!("/api/v1/platform/tenants/{}/support-access", founder.tenant)
}

fn because(write: bool) -> Value {
    json!({"reason": "ticket 4711: machines do not start", "write": write})
}

async fn grant(operator: &Client, founder: &Founder, write: bool) -> Value {
    let answer = operator.post(&path(founder), &because(write)).await;
    let given = answer.expect(201);
    let location = format!("{}/{}", path(founder), given["id"].as_str().unwrap());
    assert_eq!(answer.headers["location"], location.as_str());
    given
}

fn inside(operator: &Client, founder: &Founder) -> Client {
    operator.with_header("x-org-id", founder.tenant.to_string())
}

#[tokio::test]
async fn access_needs_a_reason_and_a_bound_and_opens_one_tenant_to_one_operator() {
    let app = App::start().await;
    let (ada, bob) = (app.founder("acme").await, app.founder("bolt").await);
    let (operator, _) = app.operator_with("root@platform.example").await;
    let (other, _) = app.operator_with("other@platform.example").await;
    for (body, pointer) in [
        (json!({"reason": "too short"}), "/reason"),
        (json!({"reason": "x".repeat(501)}), "/reason"),
        (json!({"reason": "a good one to look", "minutes": 0}), "/minutes"),
        (json!({"reason": "a good one to look", "minutes": 481}), "/minutes"),
    ] {
        let problem = operator
            .post(&path(&ada), &body)
            .await
            .expect_problem(422, "validation");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    operator
        .post(&path(&ada), &json!({}))
        .await
        .expect_problem(422, "validation");
    let nowhere = format!("/api/v1/platform/tenants/org_{}/support-access", "0".repeat(32));
    operator
        .post(&nowhere, &because(false))
        .await
        .expect_problem(404, "tenant_not_found");
    operator.get(&nowhere).await.expect_problem(404, "tenant_not_found");
    ada.client
        .post(&path(&ada), &because(false))
        .await
        .expect_problem(403, "forbidden");
    assert_eq!(operator.get(&path(&ada)).await.expect(200)["total"], 0);
    inside(&operator, &ada)
        .get("/api/v1/vms")
        .await
        .expect_problem(404, "tenant_not_found");

    let given = grant(&operator, &ada, false).await;
    assert_eq!(
        (&given["is_read_only"], &given["is_live"]),
        (&json!(true), &json!(true))
    );
    inside(&operator, &ada).get("/api/v1/vms").await.expect(200);
    let whoami = inside(&operator, &ada).get("/api/v1/whoami").await.expect(200);
    assert_eq!(whoami["principal"]["type"], "operator");
    assert_eq!(whoami["principal"]["id"], given["id"]);
    for (client, founder) in [(&operator, &bob), (&other, &ada)] {
        inside(client, founder)
            .get("/api/v1/vms")
            .await
            .expect_problem(404, "tenant_not_found");
    }
    // It is no membership: the tenant is not among those to choose.
    assert_eq!(operator.get("/api/v1/tenants").await.expect(200), json!([]));
    let foreign = format!("{}/{}", path(&bob), given["id"].as_str().unwrap());
    operator.delete(&foreign).await.expect_problem(404, "not_found");
    operator
        .delete(&format!("{}/{}", path(&ada), given["id"].as_str().unwrap()))
        .await
        .expect(204);
    inside(&operator, &ada)
        .get("/api/v1/vms")
        .await
        .expect_problem(404, "tenant_not_found");
}

#[tokio::test]
async fn the_end_by_an_owner_and_deactivation_bite_on_every_process_and_nothing_revives_it() {
    let pair = Pair::start().await;
    let ada = pair.app.founder("acme").await;
    let [root, _] = pair.operator("root@platform.example").await;
    let graces = pair.operator("grace@platform.example").await;
    let within: Vec<_> = graces.iter().map(|client| inside(client, &ada)).collect();
    let given = grant(&graces[0], &ada, false).await;
    let own = format!("/api/v1/support-access/{}", given["id"].as_str().unwrap());
    let turn_out = async || drop(ada.client.delete(&own).await.expect(204));
    bites(&within, "/api/v1/vms", turn_out, 404, "tenant_not_found").await;
    ada.client.delete(&own).await.expect(204);

    grant(&graces[1], &ada, true).await;
    let grace = format!("{}/{}", super::PATH, id_of(&graces[0]).await);
    let deactivate = async || drop(root.post(&format!("{grace}/deactivate"), &json!({})).await.expect(200));
    bites(&within, "/api/v1/vms", deactivate, 404, "tenant_not_found").await;
    root.post(&format!("{grace}/reactivate"), &json!({})).await.expect(200);
    graces[0].get(super::PATH).await.expect(200);
    for client in &within {
        client.get("/api/v1/vms").await.expect_problem(404, "tenant_not_found");
    }

    grant(&graces[0], &ada, false).await;
    let expire = async || {
        let now = "UPDATE control.support_access SET expires_at = now() WHERE ended_at IS NULL AND expires_at > now()";
        crate::harness::run(&mut pair.app.db.connect("postgres").await, now).await;
    };
    bites(&within, "/api/v1/vms", expire, 404, "tenant_not_found").await;
    let seen = ada.client.get("/api/v1/support-access").await.expect(200);
    let live: Vec<_> = seen["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["is_live"].clone())
        .collect();
    assert_eq!(live, [json!(false), json!(false), json!(false)]);
}

#[tokio::test]
async fn the_tenant_sees_who_came_why_and_what_was_done() {
    let app = App::start().await;
    let (ada, bob) = (app.founder("acme").await, app.founder("bolt").await);
    let (operator, _) = app.operator_with("root@platform.example").await;
    let given = grant(&operator, &ada, true).await;
    let id = given["id"].as_str().unwrap();
    let thing = json!({"type": "disk", "name": "spare", "attributes": {}});
    let made = inside(&operator, &ada)
        .post("/api/v1/resources", &thing)
        .await
        .expect(201);
    let roles = ada.client.get("/api/v1/roles").await.expect(200);
    let wanted = json!({"email": "eve@example.com", "role_ids": [roles[0]["id"]]});
    let refused = inside(&operator, &ada).post("/api/v1/invitations", &wanted).await;
    refused.expect_problem(403, "forbidden");

    let seen = ada.client.get("/api/v1/support-access").await.expect(200);
    let one = &seen["items"][0];
    assert_eq!(seen["total"], 1);
    assert_eq!(one["operator"]["email"], "root@platform.example");
    assert_eq!(one["reason"], "ticket 4711: machines do not start");
    assert_eq!((&one["is_read_only"], &one["is_live"]), (&json!(false), &json!(true)));
    assert_eq!(bob.client.get("/api/v1/support-access").await.expect(200)["total"], 0);
    inside(&operator, &ada)
        .get("/api/v1/support-access")
        .await
        .expect_problem(403, "forbidden");
    for missing in [id.to_owned(), SupportAccessId::new().to_string()] {
        let path = format!("/api/v1/support-access/{missing}");
        bob.client.delete(&path).await.expect_problem(404, "not_found");
    }
    let own = format!("/api/v1/support-access/{id}");
    inside(&operator, &ada)
        .delete(&own)
        .await
        .expect_problem(403, "forbidden");
    ada.client.delete(&own).await.expect(204);
    let over = ada.client.get("/api/v1/support-access").await.expect(200)["items"][0].clone();
    assert_eq!(over["ended_by"], json!(id_of(&ada.client).await));

    for (action, actor) in [
        (
            "support_access.grant",
            json!({"type": "operator", "id": id_of(&operator).await}),
        ),
        ("resource.create", json!({"type": "operator", "id": id})),
        ("request.refuse", json!({"type": "operator", "id": id})),
        (
            "support_access.end",
            json!({"type": "member", "id": id_of(&ada.client).await}),
        ),
    ] {
        let entry = eventually("the tenant's log tells it", async || {
            let log = ada
                .client
                .get(&format!("/api/v1/audit-log?action={action}"))
                .await
                .expect(200);
            log["items"].get(0).cloned()
        })
        .await;
        assert_eq!(entry["actor"], actor, "{action}");
    }
    assert_eq!(made["created_by"], id);
}

#[tokio::test]
async fn what_is_suspended_stays_closed_and_read_only_to_support_as_well() {
    let app = App::start().await;
    let ada = app.founder("acme").await;
    let (operator, _) = app.operator_with("root@platform.example").await;
    grant(&operator, &ada, true).await;
    let within = inside(&operator, &ada);
    let thing = json!({"type": "disk", "name": "spare", "attributes": {}}).to_string();
    for (mode, read, code) in [
        ("read_only", 200, "tenant_read_only"),
        ("full", 403, "tenant_not_active"),
    ] {
        let how = json!({"mode": mode, "reason": "unpaid"});
        let suspend = format!("/api/v1/tenants/{}/suspend", ada.tenant);
        operator.post(&suspend, &how).await.expect(200);
        assert_eq!(within.get("/api/v1/resources").await.status, read);
        let refused = within
            .send(Method::POST, "/api/v1/resources", "application/json", thing.clone())
            .await;
        refused.expect_problem(403, code);
    }
}

#[tokio::test]
async fn access_is_over_at_its_very_end_and_never_for_a_session_that_is() {
    let desk = Desk::new().await;
    let root = first(&desk).await;
    let ada = desk.register("ada@example.com").await;
    let (acme, bolt) = (desk.tenant("acme", ada).await, desk.tenant("bolt", ada).await);
    let pair = desk.sign_in("root@platform.example").await;
    let wanted = Wanted::parse("a look at what is wrong", Some(1), false).unwrap();
    let given = support::grant(&origin(), &desk.iam, root, acme, &wanted).await.unwrap();
    let live = async |tenant, session| {
        let found = support::find_live(&desk.iam, tenant, root, session).await.unwrap();
        found.map(|access| access.id)
    };
    assert_eq!(live(acme, pair.session).await, Some(given.id));
    assert_eq!(live(bolt, pair.session).await, None);
    assert_eq!(live(acme, SessionId::new()).await, None);
    desk.clock.advance(Duration::seconds(59));
    assert_eq!(live(acme, pair.session).await, Some(given.id));
    desk.clock.advance(Duration::seconds(1));
    assert_eq!(live(acme, pair.session).await, None);

    let nobody = support::grant(&origin(), &desk.iam, ada, acme, &wanted).await;
    assert!(nobody.is_err(), "{nobody:?}");
    let grace = operators::create(&origin(), &desk.iam, root, &new("grace@example.com"))
        .await
        .unwrap();
    operators::deactivate(&origin(), &desk.iam, root, grace.id)
        .await
        .unwrap();
    let inactive = support::grant(&origin(), &desk.iam, grace.id, acme, &wanted).await;
    assert!(inactive.is_err(), "{inactive:?}");
}
