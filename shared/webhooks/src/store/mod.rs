//! Rows of `webhooks`.

pub(crate) mod deliveries;

use bulkhead_kernel::{ids::WebhookId, page::PageRequest};
use bulkhead_tenancy::{DbError, OwnerTx, TenantTx};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::model::Webhook;

struct Row {
    id: Uuid,
    url: String,
    description: String,
    event_types: Vec<String>,
    is_enabled: bool,
    disabled_reason: Option<String>,
    has_secret: bool,
    previous_until: Option<DateTime<Utc>>,
    failing_since: Option<DateTime<Utc>>,
    version: i64,
    created_by: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Row> for Webhook {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            url: row.url,
            description: row.description,
            event_types: row.event_types,
            is_enabled: row.is_enabled,
            disabled_reason: row.disabled_reason,
            has_secret: row.has_secret,
            previous_until: row.previous_until,
            failing_since: row.failing_since,
            version: row.version,
            created_by: row.created_by,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// How many there are; nobody makes another until the transaction ends. Whoever tells them of events does not wait.
pub(crate) async fn count_locked(tx: &mut TenantTx) -> Result<i64, DbError> {
    sqlx::query!("LOCK TABLE webhooks IN SHARE ROW EXCLUSIVE MODE")
        .execute(tx.conn())
        .await?;
    let n = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "n!"
        FROM webhooks
        "#,
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(n)
}

pub(crate) async fn insert(tx: &mut TenantTx, webhook: &Webhook, secret: &[u8]) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO webhooks (id, url, description, event_types, is_enabled, secret, version, created_by, created_at,
                              updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        "#,
        webhook.id.uuid(),
        webhook.url,
        webhook.description,
        &webhook.event_types,
        webhook.is_enabled,
        secret,
        webhook.version,
        webhook.created_by,
        webhook.created_at,
        webhook.updated_at,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(crate) async fn find(tx: &mut TenantTx, id: WebhookId) -> Result<Option<Webhook>, DbError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT id, url, description, event_types, is_enabled, disabled_reason, secret IS NOT NULL AS "has_secret!",
               previous_until, failing_since, version, created_by, created_at, updated_at
        FROM webhooks
        WHERE id = $1
        "#,
        id.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(Webhook::from))
}

/// Kept from changing until the transaction ends; events go on being written for it.
pub(crate) async fn lock(tx: &mut TenantTx, id: WebhookId) -> Result<Option<Webhook>, DbError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT id, url, description, event_types, is_enabled, disabled_reason, secret IS NOT NULL AS "has_secret!",
               previous_until, failing_since, version, created_by, created_at, updated_at
        FROM webhooks
        WHERE id = $1
            FOR NO KEY UPDATE
        "#,
        id.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(Webhook::from))
}

/// A page, the newest first, and how many there are in all.
pub(crate) async fn list(tx: &mut TenantTx, page: PageRequest) -> Result<(Vec<Webhook>, i64), DbError> {
    let total = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "total!"
        FROM webhooks
        "#,
    )
    .fetch_one(tx.conn())
    .await?;
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, url, description, event_types, is_enabled, disabled_reason, secret IS NOT NULL AS "has_secret!",
               previous_until, failing_since, version, created_by, created_at, updated_at
        FROM webhooks
        ORDER BY created_at DESC, id DESC
        LIMIT $1 OFFSET $2
        "#,
        i64::from(page.limit()),
        page.offset(),
    )
    .fetch_all(tx.conn())
    .await?;
    Ok((rows.into_iter().map(Webhook::from).collect(), total))
}

/// Writes what may be changed.
pub(crate) async fn set(tx: &mut TenantTx, webhook: &Webhook) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE webhooks
        SET url             = $2,
            description     = $3,
            event_types     = $4,
            is_enabled      = $5,
            disabled_reason = $6,
            failing_since   = $7,
            version         = $8,
            updated_at      = $9
        WHERE id = $1
        "#,
        webhook.id.uuid(),
        webhook.url,
        webhook.description,
        &webhook.event_types,
        webhook.is_enabled,
        webhook.disabled_reason,
        webhook.failing_since,
        webhook.version,
        webhook.updated_at,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Gives it another secret. The one so far stays beside it where the webhook says until when.
pub(crate) async fn set_secret(tx: &mut TenantTx, webhook: &Webhook, secret: &[u8]) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE webhooks
        SET previous_secret = CASE WHEN $3::timestamptz IS NOT NULL THEN secret END,
            previous_until  = $3,
            secret          = $2,
            version         = $4,
            updated_at      = $5
        WHERE id = $1
        "#,
        webhook.id.uuid(),
        secret,
        webhook.previous_until,
        webhook.version,
        webhook.updated_at,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(crate) async fn delete(tx: &mut TenantTx, id: WebhookId) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        DELETE
        FROM webhooks
        WHERE id = $1
        "#,
        id.uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// It answers again.
pub(crate) async fn clear_failing(tx: &mut TenantTx, id: WebhookId) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE webhooks
        SET failing_since = NULL
        WHERE id = $1
          AND failing_since IS NOT NULL
        "#,
        id.uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// It has failed, at this time or before. Gives since when it has done nothing else; `None` of one that is disabled or gone.
pub(crate) async fn set_failing(
    tx: &mut TenantTx,
    id: WebhookId,
    at: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, DbError> {
    let since = sqlx::query_scalar!(
        r#"
        UPDATE webhooks
        SET failing_since = coalesce(failing_since, $2)
        WHERE id = $1
          AND is_enabled
        RETURNING failing_since AS "failing_since!"
        "#,
        id.uuid(),
        at,
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(since)
}

/// Whether it was enabled until now.
pub(crate) async fn set_disabled(
    tx: &mut TenantTx,
    id: WebhookId,
    reason: &str,
    at: DateTime<Utc>,
) -> Result<bool, DbError> {
    let disabled = sqlx::query!(
        r#"
        UPDATE webhooks
        SET is_enabled      = false,
            disabled_reason = $2,
            version         = version + 1,
            updated_at      = $3
        WHERE id = $1
          AND is_enabled
        "#,
        id.uuid(),
        reason,
        at,
    )
    .execute(tx.conn())
    .await?;
    Ok(disabled.rows_affected() == 1)
}

/// What came with an archive has another tenant's secrets, and jobs that did not come along.
pub(crate) async fn set_all_imported(tx: &mut OwnerTx) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        WITH closed AS (
            UPDATE webhooks
            SET is_enabled      = false,
                disabled_reason = 'imported',
                secret          = NULL,
                previous_secret = NULL,
                previous_until  = NULL,
                failing_since   = NULL
        )
        UPDATE webhook_deliveries
        SET state           = 'failed',
            next_attempt_at = NULL,
            finished_at     = now()
        WHERE state = 'pending'
        "#,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
