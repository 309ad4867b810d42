//! `/api-keys`: how programs are let in. People manage keys; keys do not.

mod body;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bulkhead_iam::{
    api_keys::{self, Minted, service},
    permissions::Permission,
};
use bulkhead_kernel::{fault::Code, ids::ApiKeyId};

pub use body::{
    ApiKeyBody, CreateApiKey, KeyOwner, KeyQuery, LeakReported, MintedApiKey, ReportLeak, RotateApiKey, UpdateApiKey,
};

use super::page::PageBody;
use crate::{
    extract::{
        ClientAddress, FreshlyScoped, IdempotencyHeader, IfMatch, Json, PageQuery, Paging, PathId, Query, Requested,
        Scoped, etag,
    },
    openapi::{PUBLIC, codes},
    problem::Problem,
    state::AppState,
};

/// List the API keys
///
/// The newest first, those that do not work any more among them. `unused=true` shows which nobody ever used.
#[utoipa::path(get, path = "/api-keys", operation_id = "list_api_keys", tag = "api-keys", params(PageQuery, KeyQuery),
    responses((status = 200, body = PageBody<ApiKeyBody>)),
    extensions(("x-permission" = json!(Permission::ApiKeyRead.as_str()))))]
pub async fn list(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    Paging(page): Paging,
    Query(query): Query<KeyQuery>,
) -> Result<Json<PageBody<ApiKeyBody>>, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let keys = service::list(&scope, &mut tx, &query.filter(page)).await?;
    tx.commit().await?;
    let now = scope.clock.now();
    Ok(Json(PageBody::of(keys, |key| ApiKeyBody::of(key, now))))
}

/// Create an API key
///
/// The answer shows the key, this once. It allows at most what the caller may; a member's key also loses what that
/// member loses. Under an `Idempotency-Key` the same request makes one key and shows it again.
#[utoipa::path(post, path = "/api-keys", operation_id = "create_api_key", tag = "api-keys",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters")),
    responses((status = 201, body = MintedApiKey, headers(("Location"), ("ETag")))),
    extensions(("x-permission" = json!(Permission::ApiKeyCreate.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::IdempotencyKeyReused, Code::ApiKeyNotRepeatable, Code::TenantReadOnly])))))]
pub async fn create(
    State(state): State<AppState>,
    FreshlyScoped(scope): FreshlyScoped,
    IdempotencyHeader(key): IdempotencyHeader,
    Json(wanted): Json<CreateApiKey>,
) -> Result<Response, Problem> {
    let minted = service::create(&scope, state.iam(), &wanted.into(), key.as_deref()).await?;
    let location = [(header::LOCATION, format!("/api/v1/api-keys/{}", minted.key.id))];
    Ok((StatusCode::CREATED, location, answer(minted, scope.clock.now())).into_response())
}

/// Show an API key
#[utoipa::path(get, path = "/api-keys/{id}", operation_id = "get_api_key", tag = "api-keys",
    params(("id" = String, Path, description = "The key's id")),
    responses((status = 200, body = ApiKeyBody, headers(("ETag")))),
    extensions(("x-permission" = json!(Permission::ApiKeyRead.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn get(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathId(id): PathId<ApiKeyId>,
) -> Result<Response, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let key = service::get(&scope, &mut tx, id).await?;
    tx.commit().await?;
    let tag = [(header::ETAG, etag(key.version))];
    Ok((tag, Json(ApiKeyBody::of(key, scope.clock.now()))).into_response())
}

/// Change an API key
///
/// What is left out stays; `expires_at` that is `null` goes. A member's key is changed by that member alone, the tenant's
/// by who may do all that it may. It bites within a second.
#[utoipa::path(patch, path = "/api-keys/{id}", operation_id = "update_api_key", tag = "api-keys",
    params(("id" = String, Path, description = "The key's id"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` last seen")),
    responses((status = 200, body = ApiKeyBody, headers(("ETag")))),
    extensions(("x-permission" = json!(Permission::ApiKeyUpdate.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::ApiKeyRevoked, Code::PreconditionFailed,
            Code::TenantReadOnly])))))]
pub async fn update(
    State(state): State<AppState>,
    FreshlyScoped(scope): FreshlyScoped,
    PathId(id): PathId<ApiKeyId>,
    IfMatch(seen): IfMatch,
    Json(wanted): Json<UpdateApiKey>,
) -> Result<Response, Problem> {
    let key = service::update(&scope, state.iam(), id, seen.as_deref(), &wanted.into()).await?;
    let tag = [(header::ETAG, etag(key.version))];
    Ok((tag, Json(ApiKeyBody::of(key, scope.clock.now()))).into_response())
}

/// Rotate an API key
///
/// It gets another secret and keeps all else. The one so far works for `overlap_secs` more, so that programs can change
/// over one by one; with 0 it ends now. A member's key is rotated by that member alone, the tenant's by who may do all
/// that it may. Under an `Idempotency-Key` the same request rotates once and shows the key again.
#[utoipa::path(post, path = "/api-keys/{id}/rotate", operation_id = "rotate_api_key", tag = "api-keys",
    params(("id" = String, Path, description = "The key's id"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters")),
    responses((status = 200, body = MintedApiKey, headers(("ETag")))),
    extensions(("x-permission" = json!(Permission::ApiKeyUpdate.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::ApiKeyRevoked, Code::IdempotencyKeyReused,
            Code::ApiKeyNotRepeatable, Code::TenantReadOnly])))))]
pub async fn rotate(
    State(state): State<AppState>,
    FreshlyScoped(scope): FreshlyScoped,
    PathId(id): PathId<ApiKeyId>,
    IdempotencyHeader(key): IdempotencyHeader,
    Json(wanted): Json<RotateApiKey>,
) -> Result<Response, Problem> {
    let minted = service::rotate(&scope, state.iam(), id, wanted.overlap_secs, key.as_deref()).await?;
    Ok(answer(minted, scope.clock.now()).into_response())
}

/// Revoke an API key
///
/// It never works again, here at once and everywhere within a second, and stays in the list. Asking again changes nothing.
#[utoipa::path(delete, path = "/api-keys/{id}", operation_id = "revoke_api_key", tag = "api-keys",
    params(("id" = String, Path, description = "The key's id"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` last seen")),
    responses((status = 204)),
    extensions(("x-permission" = json!(Permission::ApiKeyDelete.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::PreconditionFailed, Code::TenantReadOnly])))))]
pub async fn revoke(
    State(state): State<AppState>,
    FreshlyScoped(scope): FreshlyScoped,
    PathId(id): PathId<ApiKeyId>,
    IfMatch(seen): IfMatch,
) -> Result<StatusCode, Problem> {
    service::revoke(&scope, state.iam(), id, seen.as_deref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Report an API key that was found where it should not be
///
/// A key that works ends at once, and its owner gets a mail. The answer is the same whatever is sent. One text may be sent
/// only so often, and one address may send only so many.
#[utoipa::path(post, path = "/api-keys/report-leak", operation_id = "report_leaked_api_key", tag = "api-keys",
    responses((status = 202, body = LeakReported)),
    extensions(("x-permission" = json!(PUBLIC)), ("x-problem-codes" = json!(codes(&[Code::RateLimited, Code::DatabaseUnavailable])))))]
pub async fn report_leak(
    State(state): State<AppState>,
    Requested(origin): Requested,
    ClientAddress(from): ClientAddress,
    Json(report): Json<ReportLeak>,
) -> Result<(StatusCode, Json<LeakReported>), Problem> {
    state.throttles().links.spend(report.key.trim(), from).await?;
    api_keys::report(state.iam(), &report.key, &origin).await?;
    Ok((StatusCode::ACCEPTED, Json(LeakReported::default())))
}

fn answer(minted: Minted, now: chrono::DateTime<chrono::Utc>) -> impl IntoResponse {
    let tag = [(header::ETAG, etag(minted.key.version))];
    (tag, Json(MintedApiKey::of(minted, now)))
}
