//! What happens to a tenant of another cluster reaches its log there, once.

use bulkhead_audit::carrier;
use bulkhead_tenancy::Cluster;
use bulkhead_tenants::{Reason, Suspension, lifecycle, moves};
use serde_json::json;

use super::{Pair, cluster_b, http::Two, origin, text};
use crate::harness::{Options, TestDb, eventually, run};

#[tokio::test]
async fn a_suspension_is_in_the_log_of_a_remote_tenant_and_the_chain_is_whole() {
    let two = Two::with("b", Options::default()).await;
    let (ada, operator) = (two.app.founder("acme").await, two.app.operator().await);
    let path = format!("/api/v1/tenants/{}", ada.tenant);
    let unpaid = json!({ "mode": "read_only", "reason": "unpaid" });
    operator.post(&format!("{path}/suspend"), &unpaid).await.expect(200);
    operator.post(&format!("{path}/resume"), &json!({})).await.expect(200);
    for action in ["tenant.suspend", "tenant.resume"] {
        let list = format!("/api/v1/audit-log?action={action}");
        eventually("it is in the log", async || {
            let log = ada.client.get(&list).await.expect(200);
            (log["items"].as_array()?.len() == 1 && log["items"][0]["seq"].is_i64()).then_some(())
        })
        .await;
    }
    let verified = ada.client.get("/api/v1/audit-log/verify").await.expect(200);
    assert_eq!(verified["ok"], true, "{verified}");
    let left = "SELECT count(*)::text FROM control.audit_outbox";
    assert_eq!(text(&mut two.app.db.connect("postgres").await, left).await, "0");
}

/// How many events wait in this database, apart from the words that something does.
async fn waiting(test: &TestDb) -> String {
    let sql = "SELECT count(*)::text FROM control.audit_outbox WHERE event IS NOT NULL";
    text(&mut test.connect("postgres").await, sql).await
}

#[tokio::test]
async fn an_event_is_carried_once_and_a_frozen_tenant_gets_it_where_it_goes() {
    let pair = Pair::new().await;
    let tenant = pair.tenant("acme").await;
    pair.moved(tenant, &cluster_b()).await;
    let reason: Reason = "unpaid".parse().unwrap();
    lifecycle::service::suspend(&origin(), &pair.db, tenant, Suspension::ReadOnly, &reason)
        .await
        .unwrap();
    let copy = "SELECT format('(%L, %L, %L)', id, tenant_id, event) FROM control.audit_outbox WHERE event IS NOT NULL";
    let copy = text(&mut pair.home.connect("postgres").await, copy).await;
    carrier::carry_all(&pair.db).await.unwrap();
    // As by a carrier that died before it removed what it had carried.
    let again = format!("INSERT INTO control.audit_outbox VALUES {copy}");
    run(&mut pair.home.connect("postgres").await, &again).await;
    carrier::carry_all(&pair.db).await.unwrap();
    assert_eq!(
        (waiting(&pair.home).await, waiting(&pair.b).await),
        ("0".into(), "1".into())
    );
    let sealed = async |at: &TestDb, db| {
        let mut tx = bulkhead_tenancy::Db::owner(&db).await.unwrap();
        bulkhead_audit::chain::seal(&mut tx, tenant).await.unwrap();
        tx.commit().await.unwrap();
        let counted = "SELECT count(*)::text FROM audit_events WHERE action IN ('tenant.suspend', 'tenant.resume')";
        text(&mut at.look_into(tenant).await, counted).await
    };
    let there = pair.db.at(&cluster_b()).unwrap();
    assert_eq!(sealed(&pair.b, there.clone()).await, "1");
    // Also when it was sealed in between.
    run(&mut pair.home.connect("postgres").await, &again).await;
    carrier::carry_all(&pair.db).await.unwrap();
    assert_eq!(sealed(&pair.b, there).await, "1");

    lifecycle::service::resume(&origin(), &pair.db, tenant, &reason)
        .await
        .unwrap();
    let moved = pair.frozen(tenant, &Cluster::home()).await;
    carrier::carry_all(&pair.db).await.unwrap();
    assert_eq!(
        (waiting(&pair.home).await, waiting(&pair.b).await),
        ("1".into(), "0".into())
    );
    moves::carry_out(&pair.db, moved.id, None).await.unwrap();
    assert_eq!(sealed(&pair.home, pair.db.home()).await, "2");
}
