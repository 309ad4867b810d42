//! Rows of `control.platform_events`: added and read, never changed.

use bulkhead_tenancy::{ControlTx, DbError};
use serde_json::Value;
use uuid::Uuid;

use super::Row;
use crate::{Entry, Event, Filter, Part};

pub(crate) async fn insert(tx: &mut ControlTx, event: &Event) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO control.platform_events (id, occurred_at, action, outcome, actor_kind, actor_id, targets, changes,
                                             request_id, address, agent)
        VALUES ($1, coalesce($2::timestamptz, now()), $3, $4, $5, $6, $7, $8, $9, $10, $11)
        "#,
        Uuid::now_v7(),
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

pub(crate) async fn list(tx: &mut ControlTx, filter: &Filter, part: Part) -> Result<Vec<Entry>, DbError> {
    let (limit, offset, after) = match part {
        Part::Page(page) => (i64::from(page.limit()), page.offset(), None),
        Part::After(position, limit) => (i64::from(limit), 0, position),
    };
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, occurred_at, action, outcome, actor_kind, actor_id, targets, changes, request_id, address, agent,
               NULL::bigint AS seq, NULL::bytea AS hash
        FROM control.platform_events
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

pub(crate) async fn count(tx: &mut ControlTx, filter: &Filter) -> Result<i64, DbError> {
    let total = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "total!"
        FROM control.platform_events
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
