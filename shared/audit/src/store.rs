//! Rows of `audit_events`.

use bulkhead_tenancy::{DbError, TenantTx};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Event;

pub(crate) async fn insert(tx: &mut TenantTx, event: &Event) -> Result<(), DbError> {
    let targets = event
        .targets
        .iter()
        .map(|target| json!({"kind": target.kind, "id": target.id}));
    sqlx::query!(
        r#"
        INSERT INTO audit_events (id, occurred_at, action, outcome, actor_kind, actor_id, targets, changes, request_id,
                                  address, agent)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        "#,
        Uuid::now_v7(),
        event.at,
        event.action,
        event.outcome.as_str(),
        event.actor.kind,
        event.actor.id,
        Value::Array(targets.collect()),
        Value::Object(event.changes.clone()),
        event.origin.request_id,
        event.origin.address,
        event.origin.agent,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
