//! Rows of `webhook_messages` and the first of `webhook_deliveries`.

use bulkhead_kernel::ids::{MessageId, WebhookId};
use bulkhead_tenancy::{DbError, TenantTx};
use chrono::{DateTime, Utc};

use crate::{Event, EventType};

/// Writes the event with a delivery to each webhook that wants it, and gives those. Whoever deletes one meanwhile waits.
pub(crate) async fn insert(
    tx: &mut TenantTx,
    id: MessageId,
    event: &Event,
    at: DateTime<Utc>,
) -> Result<Vec<WebhookId>, DbError> {
    let webhooks = sqlx::query_scalar!(
        r#"
        WITH listening AS (
            SELECT id
            FROM webhooks
            WHERE is_enabled
              AND (event_types = '{}' OR $2::text = ANY (event_types))
            FOR KEY SHARE
        ), message AS (
            INSERT INTO webhook_messages (id, type, data, occurred_at)
            SELECT $1, $2, $3, $4
            WHERE EXISTS (SELECT FROM listening)
        )
        INSERT INTO webhook_deliveries (webhook_id, message_id, next_attempt_at, created_at)
        SELECT id, $1, $4, $4
        FROM listening
        RETURNING webhook_id
        "#,
        id.uuid(),
        event.kind().as_str(),
        event.data(),
        at,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(webhooks.into_iter().map(WebhookId::from).collect())
}

pub(crate) async fn is_wanted(tx: &mut TenantTx, kind: EventType) -> Result<bool, DbError> {
    let is_wanted = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (SELECT
                       FROM webhooks
                       WHERE is_enabled
                         AND (event_types = '{}' OR $1::text = ANY (event_types))) AS "is_wanted!"
        "#,
        kind.as_str(),
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(is_wanted)
}
