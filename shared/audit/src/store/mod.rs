//! Rows of `audit_events`, and of `control.audit_outbox` where they wait.

pub(crate) mod platform;

use bulkhead_kernel::ids::TenantId;
use bulkhead_tenancy::{ControlTx, DbError, TenantTx};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Entry, Event, Filter, Part};

/// Nothing where the id is taken. What is inserted waits for the worker that seals.
pub(crate) async fn insert(tx: &mut TenantTx, id: Uuid, event: &Event) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO audit_events (id, occurred_at, action, outcome, actor_kind, actor_id, targets, changes, request_id,
                                  address, agent)
        SELECT $1::uuid, coalesce($2::timestamptz, now()), $3::text, $4::text, $5::text, $6::text, $7::jsonb, $8::jsonb,
               $9::text, $10::text, $11::text
        FROM control.await_sealing()
        ON CONFLICT (id) DO NOTHING
        "#,
        id,
        event.at,
        event.action,
        event.outcome.as_str(),
        event.actor.kind,
        event.actor.id,
        event.targets_document(),
        Value::Object(event.changes.clone()),
        event.origin.request_id,
        event.origin.address,
        event.origin.agent,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(crate) async fn insert_waiting(conn: &mut PgConnection, tenant: TenantId, event: &Event) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO control.audit_outbox (id, tenant_id, event)
        VALUES ($1, $2, jsonb_build_object('occurred_at', now()) || $3::jsonb)
        "#,
        Uuid::now_v7(),
        tenant.uuid(),
        event.document(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

struct Row {
    id: Uuid,
    occurred_at: DateTime<Utc>,
    action: String,
    outcome: String,
    actor_kind: String,
    actor_id: String,
    targets: Value,
    changes: Value,
    request_id: String,
    address: Option<String>,
    agent: Option<String>,
    seq: Option<i64>,
    hash: Option<Vec<u8>>,
}

impl From<Row> for Entry {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            at: row.occurred_at,
            action: row.action,
            outcome: row.outcome,
            actor_kind: row.actor_kind,
            actor_id: row.actor_id,
            targets: row.targets,
            changes: row.changes,
            request_id: row.request_id,
            address: row.address,
            agent: row.agent,
            seq: row.seq,
            hash: row.hash,
        }
    }
}

pub(crate) async fn list(tx: &mut TenantTx, filter: &Filter, part: Part) -> Result<Vec<Entry>, DbError> {
    let (limit, offset, after) = match part {
        Part::Page(page) => (i64::from(page.limit()), page.offset(), None),
        Part::After(position, limit) => (i64::from(limit), 0, position),
    };
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, occurred_at, action, outcome, actor_kind, actor_id, targets, changes, request_id, address, agent, seq,
               hash
        FROM audit_events
        WHERE ($1::text IS NULL OR actor_id = $1)
          AND ($2::text IS NULL OR action = $2)
          AND ($3::text IS NULL OR targets @> jsonb_build_array(jsonb_build_object('id', $3::text)))
          AND ($4::text IS NULL OR outcome = $4)
          AND ($5::timestamptz IS NULL OR occurred_at >= $5)
          AND ($6::timestamptz IS NULL OR occurred_at < $6)
          AND ($7::timestamptz IS NULL OR (occurred_at, id) < ($7, $8::uuid))
        ORDER BY occurred_at DESC, id DESC
        LIMIT $9 OFFSET $10
        "#,
        filter.actor,
        filter.action,
        filter.target,
        filter.outcome,
        filter.from,
        filter.to,
        after.map(|position| position.at),
        after.map(|position| position.id.uuid()),
        limit,
        offset,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(Entry::from).collect())
}

pub(crate) async fn count(tx: &mut TenantTx, filter: &Filter) -> Result<i64, DbError> {
    let total = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "total!"
        FROM audit_events
        WHERE ($1::text IS NULL OR actor_id = $1)
          AND ($2::text IS NULL OR action = $2)
          AND ($3::text IS NULL OR targets @> jsonb_build_array(jsonb_build_object('id', $3::text)))
          AND ($4::text IS NULL OR outcome = $4)
          AND ($5::timestamptz IS NULL OR occurred_at >= $5)
          AND ($6::timestamptz IS NULL OR occurred_at < $6)
        "#,
        filter.actor,
        filter.action,
        filter.target,
        filter.outcome,
        filter.from,
        filter.to,
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(total)
}

pub(crate) async fn count_unsealed(tx: &mut TenantTx) -> Result<i64, DbError> {
    let n_waiting = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "n_waiting!"
        FROM audit_events
        WHERE seq IS NULL
        "#,
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(n_waiting)
}

pub(crate) async fn delete_orphans(tx: &mut ControlTx) -> Result<u64, DbError> {
    let gone = sqlx::query!(
        r#"
        DELETE
        FROM control.audit_outbox AS o
        WHERE NOT EXISTS (SELECT FROM control.tenants AS t WHERE t.id = o.tenant_id)
        "#,
    )
    .execute(tx.conn())
    .await?;
    Ok(gone.rows_affected())
}

/// Tenants away from home about which something waits here, each with its cluster.
pub(crate) async fn list_away(tx: &mut ControlTx, limit: i64) -> Result<Vec<(TenantId, String)>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT p.tenant_id, p.cluster
        FROM control.placements AS p
        WHERE p.cluster <> 'home'
          AND p.state <> 'frozen'
          AND EXISTS (SELECT FROM control.audit_outbox AS o WHERE o.tenant_id = p.tenant_id)
        ORDER BY p.tenant_id
        LIMIT $1
        "#,
        limit,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.tenant_id.into(), row.cluster))
        .collect())
}

/// A row of `control.audit_outbox`.
pub(crate) struct Waiting {
    id: Uuid,
    event: Option<Value>,
}

pub(crate) async fn list_waiting(tx: &mut ControlTx, tenant: TenantId, limit: i64) -> Result<Vec<Waiting>, DbError> {
    let waiting = sqlx::query_as!(
        Waiting,
        r#"
        SELECT id, event
        FROM control.audit_outbox
        WHERE tenant_id = $1
        ORDER BY id
        LIMIT $2
        "#,
        tenant.uuid(),
        limit,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(waiting)
}

/// Lets these wait in the tenant's own cluster; those that do already are not touched. `false` where the tenant is not there,
/// or frozen: the lock on its row keeps a move from beginning before we are through.
pub(crate) async fn insert_carried(
    there: &mut ControlTx,
    tenant: TenantId,
    waiting: &[Waiting],
) -> Result<bool, DbError> {
    let ids: Vec<Uuid> = waiting.iter().map(|row| row.id).collect();
    let events: Vec<Value> = waiting
        .iter()
        .map(|row| row.event.clone().unwrap_or_default())
        .collect();
    let is_taken = sqlx::query_scalar!(
        r#"
        WITH thawed AS (
            SELECT id
            FROM control.tenants
            WHERE id = $1
              AND frozen_by IS NULL
                FOR SHARE
        ),
             taken AS (
                 INSERT INTO control.audit_outbox (id, tenant_id, event)
                 SELECT w.id, thawed.id, nullif(w.event, 'null'::jsonb)
                 FROM thawed
                          CROSS JOIN unnest($2::uuid[], $3::jsonb[]) AS w (id, event)
                 ON CONFLICT (id) DO NOTHING
             )
        SELECT EXISTS (SELECT FROM thawed) AS "is_taken!"
        "#,
        tenant.uuid(),
        &ids,
        &events,
    )
    .fetch_one(there.conn())
    .await?;
    Ok(is_taken)
}

pub(crate) async fn delete_carried(tx: &mut ControlTx, waiting: &[Waiting]) -> Result<(), DbError> {
    let ids: Vec<Uuid> = waiting.iter().map(|row| row.id).collect();
    sqlx::query!(
        r#"
        DELETE
        FROM control.audit_outbox
        WHERE id = ANY ($1)
        "#,
        &ids,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
