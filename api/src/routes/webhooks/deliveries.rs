//! `/webhooks/{id}/deliveries`: what was sent to a webhook, and what came back.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bulkhead_iam::permissions::Permission;
use bulkhead_kernel::{
    fault::Code,
    ids::{MessageId, WebhookId},
    page::PageRequest,
};
use bulkhead_webhooks::{self as webhooks, Attempt, Delivery, State as DeliveryState, service};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::super::page::PageBody;
use crate::{
    extract::{IdempotencyHeader, Json, PageQuery, Paging, PathId, PathIds, Query, Scoped},
    openapi::codes,
    problem::Problem,
    state::AppState,
};

/// Which deliveries.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeliveryQuery {
    /// `pending`, `succeeded` or `failed`
    status: Option<String>,
    /// Of this type alone
    #[serde(rename = "type")]
    #[param(rename = "type")]
    kind: Option<String>,
}

impl DeliveryQuery {
    fn filter(self, page: PageRequest) -> Result<webhooks::DeliveryFilter, Problem> {
        let state = self.status.as_deref().map(DeliveryState::parse).transpose();
        Ok(webhooks::DeliveryFilter {
            state: state.map_err(|violation| Problem::invalid(vec![violation]))?,
            kind: self.kind,
            page,
        })
    }
}

/// An event on its way to a webhook.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookDelivery, example = json!({"id": "msg_0190a1b2c3d4e5f60718293a4b5c6d7e",
    "webhook_id": "whk_0190a1b2c3d4e5f60718293a4b5c6d7e", "type": "member.added",
    "data": {"id": "usr_0190a1b2c3d4e5f60718293a4b5c6d7e", "is_active": true, "roles": ["member"]},
    "occurred_at": "2026-11-20T12:00:00Z", "status": "succeeded", "attempts": 1, "next_attempt_at": null,
    "finished_at": "2026-11-20T12:00:01Z"}))]
pub struct DeliveryBody {
    /// The header `webhook-id` of each attempt.
    id: String,
    webhook_id: String,
    #[serde(rename = "type")]
    kind: String,
    #[schema(value_type = Object)]
    data: Value,
    occurred_at: DateTime<Utc>,
    /// `pending`, `succeeded` or `failed`.
    status: &'static str,
    /// How many there were so far.
    attempts: i32,
    /// When the next one is due.
    next_attempt_at: Option<DateTime<Utc>>,
    /// When it was taken or given up.
    finished_at: Option<DateTime<Utc>>,
}

impl From<Delivery> for DeliveryBody {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.message.to_string(),
            webhook_id: delivery.webhook.to_string(),
            kind: delivery.kind,
            data: delivery.data,
            occurred_at: delivery.occurred_at,
            status: delivery.state.as_str(),
            attempts: delivery.n_attempts,
            next_attempt_at: delivery.next_attempt_at,
            finished_at: delivery.finished_at,
        }
    }
}

/// One attempt at a delivery.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookAttempt, example = json!({"number": 1, "started_at": "2026-11-20T12:00:00Z", "duration_ms": 87,
    "status": 500, "body": "out of order", "error": null}))]
pub struct AttemptBody {
    number: i32,
    started_at: DateTime<Utc>,
    duration_ms: i32,
    /// What the endpoint answered.
    status: Option<u16>,
    /// The first KiB of it.
    body: Option<String>,
    /// Why there is no answer: `unreachable`, `timed_out`, `tls_failed` or `no_http_answer`.
    error: Option<String>,
}

impl From<Attempt> for AttemptBody {
    fn from(attempt: Attempt) -> Self {
        let (answered, error) = match attempt.result {
            Ok(answered) => (Some(answered), None),
            Err(word) => (None, Some(word)),
        };
        Self {
            number: attempt.number,
            started_at: attempt.started_at,
            duration_ms: attempt.duration_ms,
            status: answered.as_ref().map(|answered| answered.status),
            body: answered.map(|answered| answered.body),
            error,
        }
    }
}

/// A delivery with all its attempts.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookDeliveryLog, example = json!({"id": "msg_0190a1b2c3d4e5f60718293a4b5c6d7e",
    "webhook_id": "whk_0190a1b2c3d4e5f60718293a4b5c6d7e", "type": "webhook.test",
    "data": {"id": "whk_0190a1b2c3d4e5f60718293a4b5c6d7e"},
    "occurred_at": "2026-11-20T12:00:00Z", "status": "succeeded", "attempts": 1, "next_attempt_at": null,
    "finished_at": "2026-11-20T12:00:01Z", "log": [{"number": 1, "started_at": "2026-11-20T12:00:00Z",
        "duration_ms": 87, "status": 204, "body": "", "error": null}]}))]
pub struct DeliveryLogBody {
    #[serde(flatten)]
    delivery: DeliveryBody,
    /// The first one first.
    log: Vec<AttemptBody>,
}

/// The delivery, and where to look for what becomes of it.
pub(super) fn accepted(delivery: Delivery) -> Response {
    let path = format!("/api/v1/webhooks/{}/deliveries/{}", delivery.webhook, delivery.message);
    let body = Json(DeliveryBody::from(delivery));
    (StatusCode::ACCEPTED, [(header::LOCATION, path)], body).into_response()
}

/// List the deliveries of a webhook
///
/// The newest first, for as long as they are kept.
#[utoipa::path(get, path = "/webhooks/{id}/deliveries", operation_id = "list_webhook_deliveries", tag = "webhooks",
    params(PageQuery, DeliveryQuery, ("id" = String, Path, description = "The webhook")),
    responses((status = 200, body = PageBody<DeliveryBody>)),
    extensions(("x-permission" = json!(Permission::WebhookRead.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn list(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathId(id): PathId<WebhookId>,
    Paging(page): Paging,
    Query(query): Query<DeliveryQuery>,
) -> Result<Json<PageBody<DeliveryBody>>, Problem> {
    let filter = query.filter(page)?;
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let deliveries = service::list_deliveries(&scope, &mut tx, id, &filter).await?;
    tx.commit().await?;
    Ok(Json(PageBody::of(deliveries, DeliveryBody::from)))
}

/// Show a delivery with its attempts
#[utoipa::path(get, path = "/webhooks/{id}/deliveries/{delivery_id}", operation_id = "get_webhook_delivery",
    tag = "webhooks",
    params(("id" = String, Path, description = "The webhook"),
        ("delivery_id" = String, Path, description = "The delivery: the header `webhook-id` of its messages")),
    responses((status = 200, body = DeliveryLogBody)),
    extensions(("x-permission" = json!(Permission::WebhookRead.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn get(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathIds(id, message): PathIds<WebhookId, MessageId>,
) -> Result<Json<DeliveryLogBody>, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let (delivery, attempts) = service::get_delivery(&scope, &mut tx, id, message).await?;
    tx.commit().await?;
    Ok(Json(DeliveryLogBody {
        delivery: delivery.into(),
        log: attempts.into_iter().map(AttemptBody::from).collect(),
    }))
}

/// Send a delivery again
///
/// Under the id it had, whether it was taken or given up. One that is pending goes on as it does.
#[utoipa::path(post, path = "/webhooks/{id}/deliveries/{delivery_id}/replay", operation_id = "replay_webhook_delivery",
    tag = "webhooks",
    params(("id" = String, Path, description = "The webhook"),
        ("delivery_id" = String, Path, description = "The delivery"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters")),
    responses((status = 202, body = DeliveryBody, headers(("Location")))),
    extensions(("x-permission" = json!(Permission::WebhookManage.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::WebhookDisabled, Code::IdempotencyKeyReused])))))]
pub async fn replay(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathIds(id, message): PathIds<WebhookId, MessageId>,
    IdempotencyHeader(key): IdempotencyHeader,
) -> Result<Response, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let delivery = service::replay_delivery(&scope, &mut tx, id, message, key.as_deref()).await?;
    tx.commit().await?;
    Ok(accepted(delivery))
}
