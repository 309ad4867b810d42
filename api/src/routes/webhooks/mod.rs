//! `/webhooks`: where the tenant is told of events.

mod body;
pub mod deliveries;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bulkhead_events::EventType;
use bulkhead_iam::permissions::Permission;
use bulkhead_kernel::{fault::Code, ids::WebhookId};
use bulkhead_webhooks::{Changes, NewWebhook, replay_since, service};

pub use body::{
    CreateWebhook, EventTypeBody, MintedWebhook, ReplayBody, ReplayWebhook, RotateWebhookSecret, UpdateWebhook,
    WebhookBody,
};
pub use deliveries::DeliveryBody;

use super::page::PageBody;
use crate::{
    extract::{IdempotencyHeader, IfMatch, Json, PageQuery, Paging, PathId, Scoped, etag},
    openapi::codes,
    problem::Problem,
    state::AppState,
};

/// List the types of events
///
/// Each with what its `data` holds. Members get more over time; what a receiver does not know, it should ignore.
#[utoipa::path(get, path = "/webhook-event-types", operation_id = "list_webhook_event_types", tag = "webhooks",
    responses((status = 200, body = Vec<EventTypeBody>)),
    extensions(("x-permission" = json!(Permission::WebhookRead.as_str()))))]
pub async fn list_event_types(Scoped(scope): Scoped) -> Result<Json<Vec<EventTypeBody>>, Problem> {
    scope.require(Permission::WebhookRead)?;
    Ok(Json(EventType::ALL.iter().map(|&kind| kind.into()).collect()))
}

/// List the webhooks
#[utoipa::path(get, path = "/webhooks", operation_id = "list_webhooks", tag = "webhooks", params(PageQuery),
    responses((status = 200, body = PageBody<WebhookBody>)),
    extensions(("x-permission" = json!(Permission::WebhookRead.as_str()))))]
pub async fn list(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    Paging(page): Paging,
) -> Result<Json<PageBody<WebhookBody>>, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let webhooks = service::list(&scope, &mut tx, page).await?;
    tx.commit().await?;
    Ok(Json(PageBody::of(webhooks, WebhookBody::from)))
}

/// Create a webhook
///
/// The answer shows its secret, this once. Under an `Idempotency-Key` the same request makes one webhook and shows the
/// secret again.
#[utoipa::path(post, path = "/webhooks", operation_id = "create_webhook", tag = "webhooks",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters")),
    responses((status = 201, body = MintedWebhook, headers(("Location"), ("ETag")))),
    extensions(("x-permission" = json!(Permission::WebhookManage.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::QuotaExceeded, Code::IdempotencyKeyReused])))))]
pub async fn create(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    IdempotencyHeader(key): IdempotencyHeader,
    Json(wanted): Json<CreateWebhook>,
) -> Result<Response, Problem> {
    let new = NewWebhook::from(wanted);
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let minted = service::create(&scope, &mut tx, state.webhooks(), &new, key.as_deref()).await?;
    tx.commit().await?;
    let headers = [
        (header::LOCATION, format!("/api/v1/webhooks/{}", minted.webhook.id)),
        (header::ETAG, etag(minted.webhook.version)),
    ];
    Ok((StatusCode::CREATED, headers, Json(MintedWebhook::from(minted))).into_response())
}

/// Show a webhook
#[utoipa::path(get, path = "/webhooks/{id}", operation_id = "get_webhook", tag = "webhooks",
    params(("id" = String, Path, description = "The webhook")),
    responses((status = 200, body = WebhookBody, headers(("ETag")))),
    extensions(("x-permission" = json!(Permission::WebhookRead.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn get(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathId(id): PathId<WebhookId>,
) -> Result<Response, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let webhook = service::get(&scope, &mut tx, id).await?;
    tx.commit().await?;
    let tag = [(header::ETAG, etag(webhook.version))];
    Ok((tag, Json(WebhookBody::from(webhook))).into_response())
}

/// Change a webhook
///
/// What is left out stays. With `If-Match` only what the caller has seen is changed.
#[utoipa::path(patch, path = "/webhooks/{id}", operation_id = "update_webhook", tag = "webhooks",
    params(("id" = String, Path, description = "The webhook"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` last seen")),
    responses((status = 200, body = WebhookBody, headers(("ETag")))),
    extensions(("x-permission" = json!(Permission::WebhookManage.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::PreconditionFailed])))))]
pub async fn update(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathId(id): PathId<WebhookId>,
    IfMatch(seen): IfMatch,
    Json(wanted): Json<UpdateWebhook>,
) -> Result<Response, Problem> {
    let changes = Changes::from(wanted);
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let webhook = service::update(&scope, &mut tx, state.webhooks(), id, seen.as_deref(), &changes).await?;
    tx.commit().await?;
    let tag = [(header::ETAG, etag(webhook.version))];
    Ok((tag, Json(WebhookBody::from(webhook))).into_response())
}

/// Delete a webhook
///
/// With all that was sent to it. Nothing more is sent, but what is on its way arrives.
#[utoipa::path(delete, path = "/webhooks/{id}", operation_id = "delete_webhook", tag = "webhooks",
    params(("id" = String, Path, description = "The webhook"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` last seen")),
    responses((status = 204)),
    extensions(("x-permission" = json!(Permission::WebhookManage.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::PreconditionFailed])))))]
pub async fn delete(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathId(id): PathId<WebhookId>,
    IfMatch(seen): IfMatch,
) -> Result<StatusCode, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    service::delete(&scope, &mut tx, id, seen.as_deref()).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Rotate the secret of a webhook
///
/// The answer shows the new secret, this once. The one so far signs beside it for `overlap_secs` more, so that receivers
/// can change over. Under an `Idempotency-Key` the same request rotates once and shows the secret again.
#[utoipa::path(post, path = "/webhooks/{id}/rotate-secret", operation_id = "rotate_webhook_secret", tag = "webhooks",
    params(("id" = String, Path, description = "The webhook"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters")),
    responses((status = 200, body = MintedWebhook, headers(("ETag")))),
    extensions(("x-permission" = json!(Permission::WebhookManage.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::IdempotencyKeyReused])))))]
pub async fn rotate(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathId(id): PathId<WebhookId>,
    IdempotencyHeader(key): IdempotencyHeader,
    Json(wanted): Json<RotateWebhookSecret>,
) -> Result<Response, Problem> {
    let webhooks = state.webhooks();
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let minted = service::rotate(&scope, &mut tx, webhooks, id, wanted.overlap_secs, key.as_deref()).await?;
    tx.commit().await?;
    let tag = [(header::ETAG, etag(minted.webhook.version))];
    Ok((tag, Json(MintedWebhook::from(minted))).into_response())
}

/// Test a webhook
///
/// Sends it an event of the type `webhook.test`, whatever types it wants. The answer names the delivery to look at.
#[utoipa::path(post, path = "/webhooks/{id}/test", operation_id = "test_webhook", tag = "webhooks",
    params(("id" = String, Path, description = "The webhook"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters")),
    responses((status = 202, body = DeliveryBody, headers(("Location")))),
    extensions(("x-permission" = json!(Permission::WebhookManage.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::WebhookDisabled, Code::IdempotencyKeyReused])))))]
pub async fn test(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathId(id): PathId<WebhookId>,
    IdempotencyHeader(key): IdempotencyHeader,
) -> Result<Response, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let delivery = service::test(&scope, &mut tx, id, key.as_deref()).await?;
    tx.commit().await?;
    Ok(deliveries::accepted(delivery))
}

/// Send again what a webhook missed
///
/// Every delivery that was given up, of what happened since; each under the id it had. They go out over the next moments.
#[utoipa::path(post, path = "/webhooks/{id}/replay", operation_id = "replay_webhook", tag = "webhooks",
    params(("id" = String, Path, description = "The webhook"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters")),
    responses((status = 202, body = ReplayBody)),
    extensions(("x-permission" = json!(Permission::WebhookManage.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::WebhookDisabled, Code::IdempotencyKeyReused])))))]
pub async fn replay(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathId(id): PathId<WebhookId>,
    IdempotencyHeader(key): IdempotencyHeader,
    Json(wanted): Json<ReplayWebhook>,
) -> Result<(StatusCode, Json<ReplayBody>), Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let replayed = replay_since(&scope, &mut tx, id, wanted.since, key.as_deref()).await?;
    tx.commit().await?;
    Ok((StatusCode::ACCEPTED, Json(replayed.into())))
}
