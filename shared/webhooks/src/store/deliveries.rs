//! Rows of `webhook_messages`, `webhook_deliveries` and `webhook_attempts`.

use bulkhead_kernel::ids::{MessageId, WebhookId};
use bulkhead_tenancy::{DbError, TenantTx};
use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::model::{Answered, Attempt, Delivery, DeliveryFilter, State};

struct Row {
    webhook_id: Uuid,
    message_id: Uuid,
    kind: String,
    data: Value,
    occurred_at: DateTime<Utc>,
    state: String,
    round: i32,
    n_attempts: i32,
    next_attempt_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

impl From<Row> for Delivery {
    fn from(row: Row) -> Self {
        Self {
            webhook: row.webhook_id.into(),
            message: row.message_id.into(),
            kind: row.kind,
            data: row.data,
            occurred_at: row.occurred_at,
            // webhook_deliveries_state_check: always one of them.
            state: State::parse(&row.state).unwrap_or(State::Failed),
            round: row.round,
            n_attempts: row.n_attempts,
            next_attempt_at: row.next_attempt_at,
            finished_at: row.finished_at,
        }
    }
}

/// What a worker needs to know to make an attempt.
pub(crate) struct Due {
    pub(crate) url: String,
    pub(crate) is_enabled: bool,
    pub(crate) secret: Option<Vec<u8>>,
    pub(crate) previous_secret: Option<Vec<u8>>,
    pub(crate) previous_until: Option<DateTime<Utc>>,
    pub(crate) kind: String,
    pub(crate) data: Value,
    pub(crate) occurred_at: DateTime<Utc>,
    pub(crate) n_attempts: i32,
    pub(crate) n_tries: i32,
    pub(crate) next_attempt_at: DateTime<Utc>,
}

/// A delivery of this round that is still pending.
pub(crate) async fn find_due(
    tx: &mut TenantTx,
    webhook: WebhookId,
    message: MessageId,
    round: i32,
) -> Result<Option<Due>, DbError> {
    let due = sqlx::query_as!(
        Due,
        r#"
        SELECT w.url, w.is_enabled, w.secret, w.previous_secret, w.previous_until, m.type AS kind, m.data,
               m.occurred_at, d.n_attempts, d.n_tries, d.next_attempt_at AS "next_attempt_at!"
        FROM webhook_deliveries AS d
                 JOIN webhooks AS w ON w.id = d.webhook_id
                 JOIN webhook_messages AS m ON m.id = d.message_id
        WHERE d.webhook_id = $1
          AND d.message_id = $2
          AND d.round = $3
          AND d.state = 'pending'
        "#,
        webhook.uuid(),
        message.uuid(),
        round,
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(due)
}

pub(crate) async fn find(
    tx: &mut TenantTx,
    webhook: WebhookId,
    message: MessageId,
) -> Result<Option<Delivery>, DbError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT d.webhook_id, d.message_id, m.type AS kind, m.data, m.occurred_at, d.state, d.round, d.n_attempts,
               d.next_attempt_at, d.finished_at
        FROM webhook_deliveries AS d
                 JOIN webhook_messages AS m ON m.id = d.message_id
        WHERE d.webhook_id = $1
          AND d.message_id = $2
        "#,
        webhook.uuid(),
        message.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(Delivery::from))
}

/// A page, the newest first, and how many there are in all.
pub(crate) async fn list(
    tx: &mut TenantTx,
    webhook: WebhookId,
    filter: &DeliveryFilter,
) -> Result<(Vec<Delivery>, i64), DbError> {
    let state = filter.state.map(State::as_str);
    let total = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "total!"
        FROM webhook_deliveries AS d
                 JOIN webhook_messages AS m ON m.id = d.message_id
        WHERE d.webhook_id = $1
          AND ($2::text IS NULL OR d.state = $2)
          AND ($3::text IS NULL OR m.type = $3)
        "#,
        webhook.uuid(),
        state,
        filter.kind,
    )
    .fetch_one(tx.conn())
    .await?;
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT d.webhook_id, d.message_id, m.type AS kind, m.data, m.occurred_at, d.state, d.round, d.n_attempts,
               d.next_attempt_at, d.finished_at
        FROM webhook_deliveries AS d
                 JOIN webhook_messages AS m ON m.id = d.message_id
        WHERE d.webhook_id = $1
          AND ($2::text IS NULL OR d.state = $2)
          AND ($3::text IS NULL OR m.type = $3)
        ORDER BY d.created_at DESC, d.message_id DESC
        LIMIT $4 OFFSET $5
        "#,
        webhook.uuid(),
        state,
        filter.kind,
        i64::from(filter.page.limit()),
        filter.page.offset(),
    )
    .fetch_all(tx.conn())
    .await?;
    Ok((rows.into_iter().map(Delivery::from).collect(), total))
}

/// An event for one webhook alone.
pub(crate) async fn insert(tx: &mut TenantTx, delivery: &Delivery) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        WITH message AS (
            INSERT INTO webhook_messages (id, type, data, occurred_at)
            VALUES ($2, $3, $4, $5)
        )
        INSERT INTO webhook_deliveries (webhook_id, message_id, next_attempt_at, created_at)
        VALUES ($1, $2, $5, $5)
        "#,
        delivery.webhook.uuid(),
        delivery.message.uuid(),
        delivery.kind,
        delivery.data,
        delivery.occurred_at,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Begins another round of a delivery that is finished, and gives its number. `None` of one that is not.
pub(crate) async fn begin_round(
    tx: &mut TenantTx,
    webhook: WebhookId,
    message: MessageId,
    at: DateTime<Utc>,
) -> Result<Option<i32>, DbError> {
    let round = sqlx::query_scalar!(
        r#"
        UPDATE webhook_deliveries
        SET state           = 'pending',
            round           = round + 1,
            n_tries         = 0,
            next_attempt_at = $3,
            finished_at     = NULL
        WHERE webhook_id = $1
          AND message_id = $2
          AND state <> 'pending'
        RETURNING round
        "#,
        webhook.uuid(),
        message.uuid(),
        at,
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(round)
}

/// How many failed of what happened in this time.
pub(crate) async fn count_failed(
    tx: &mut TenantTx,
    webhook: WebhookId,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<i64, DbError> {
    let n = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "n!"
        FROM webhook_deliveries
        WHERE webhook_id = $1
          AND state = 'failed'
          AND created_at BETWEEN $2 AND $3
        "#,
        webhook.uuid(),
        since,
        until,
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(n)
}

/// Begins another round of some deliveries that had failed before `until`, and gives them with their rounds. What has
/// failed again since is not among them.
pub(crate) async fn begin_rounds(
    tx: &mut TenantTx,
    webhook: WebhookId,
    (since, until): (DateTime<Utc>, DateTime<Utc>),
    at: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<(MessageId, i32)>, DbError> {
    let rows = sqlx::query!(
        r#"
        UPDATE webhook_deliveries AS d
        SET state           = 'pending',
            round           = d.round + 1,
            n_tries         = 0,
            next_attempt_at = $4,
            finished_at     = NULL
        WHERE d.webhook_id = $1
          AND d.message_id IN (SELECT f.message_id
                               FROM webhook_deliveries AS f
                               WHERE f.webhook_id = $1
                                 AND f.state = 'failed'
                                 AND f.created_at BETWEEN $2 AND $3
                                 AND f.finished_at <= $3
                               ORDER BY f.created_at, f.message_id
                               LIMIT $5 FOR UPDATE)
        RETURNING d.message_id, d.round
        "#,
        webhook.uuid(),
        since,
        until,
        at,
        limit,
    )
    .fetch_all(tx.conn())
    .await?;
    let rounds = rows.into_iter().map(|row| (row.message_id.into(), row.round));
    Ok(rounds.collect())
}

/// What becomes of a delivery of this round: when it is tried next, or how it ended.
pub(crate) async fn set_state(
    tx: &mut TenantTx,
    webhook: WebhookId,
    message: MessageId,
    state: State,
    next_attempt_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE webhook_deliveries
        SET state           = $3,
            next_attempt_at = $4,
            finished_at     = CASE WHEN $3 <> 'pending' THEN $5::timestamptz END
        WHERE webhook_id = $1
          AND message_id = $2
          AND state = 'pending'
        "#,
        webhook.uuid(),
        message.uuid(),
        state.as_str(),
        next_attempt_at,
        now,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Adds an attempt to its delivery. `false`: the delivery is gone with its webhook.
pub(crate) async fn insert_attempt(
    tx: &mut TenantTx,
    webhook: WebhookId,
    message: MessageId,
    attempt: &Attempt,
) -> Result<bool, DbError> {
    let answered = attempt.result.as_ref().ok();
    let inserted = sqlx::query!(
        r#"
        WITH counted AS (
            UPDATE webhook_deliveries
            SET n_attempts = n_attempts + 1,
                n_tries    = n_tries + 1
            WHERE webhook_id = $1
              AND message_id = $2
            RETURNING webhook_id, message_id
        )
        INSERT INTO webhook_attempts (webhook_id, message_id, number, started_at, duration_ms, status, body, error)
        SELECT webhook_id, message_id, $3, $4, $5, $6, $7, $8
        FROM counted
        "#,
        webhook.uuid(),
        message.uuid(),
        attempt.number,
        attempt.started_at,
        attempt.duration_ms,
        answered.map(|answered| i16::try_from(answered.status).unwrap_or_default()),
        answered.map(|answered| answered.body.as_str()),
        attempt.result.as_ref().err(),
    )
    .execute(tx.conn())
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// All attempts, the first one first.
pub(crate) async fn list_attempts(
    tx: &mut TenantTx,
    webhook: WebhookId,
    message: MessageId,
) -> Result<Vec<Attempt>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT number, started_at, duration_ms, status, body, error
        FROM webhook_attempts
        WHERE webhook_id = $1
          AND message_id = $2
        ORDER BY number
        "#,
        webhook.uuid(),
        message.uuid(),
    )
    .fetch_all(tx.conn())
    .await?;
    let attempts = rows.into_iter().map(|row| Attempt {
        number: row.number,
        started_at: row.started_at,
        duration_ms: row.duration_ms,
        result: match row.status {
            Some(status) => Ok(Answered {
                status: u16::try_from(status).unwrap_or_default(),
                body: row.body.unwrap_or_default(),
            }),
            None => Err(row.error.unwrap_or_default()),
        },
    });
    Ok(attempts.collect())
}

/// Removes a few events that are older than they are kept, with all that hangs on them.
pub(crate) async fn prune(tx: &mut TenantTx, before: DateTime<Utc>, limit: i64) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        DELETE
        FROM webhook_messages
        WHERE id IN (SELECT id
                     FROM webhook_messages
                     WHERE occurred_at < $1
                     ORDER BY occurred_at
                     LIMIT $2 FOR UPDATE SKIP LOCKED)
        "#,
        before,
        limit,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
