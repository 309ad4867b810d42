//! `/resources`: things of the tenant's own. The handlers to copy for a noun of yours (CONTRIBUTING.md).

mod body;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bulkhead_iam::permissions::Permission;
use bulkhead_kernel::{fault::Code, ids::ResourceId};
use bulkhead_resources::{Changes, NewResource, Resource, service};

pub use body::{CreateResource, ResourceBody, ResourceFilter, UpdateResource};

use super::page::PageBody;
use crate::{
    extract::{IdempotencyHeader, IfMatch, Json, PageQuery, Paging, PathId, Query, Scoped, etag},
    openapi::codes,
    problem::Problem,
    state::AppState,
};

/// With its tag, which a change of it can name.
fn tagged(resource: Resource) -> Response {
    (
        [(header::ETAG, etag(resource.version))],
        Json(ResourceBody::from(resource)),
    )
        .into_response()
}

/// List the resources
#[utoipa::path(get, path = "/resources", operation_id = "list_resources", tag = "resources",
    params(PageQuery, ResourceFilter), responses((status = 200, body = PageBody<ResourceBody>)),
    extensions(("x-permission" = json!(Permission::ResourceRead.as_str()))))]
pub async fn list(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    Paging(page): Paging,
    Query(filter): Query<ResourceFilter>,
) -> Result<Json<PageBody<ResourceBody>>, Problem> {
    let query = filter.query(page)?;
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let resources = service::list(&scope, &mut tx, &query).await?;
    tx.commit().await?;
    Ok(Json(PageBody::of(resources, ResourceBody::from)))
}

/// Create a resource
///
/// Under an `Idempotency-Key` the same request makes one resource, however often it is sent.
#[utoipa::path(post, path = "/resources", operation_id = "create_resource", tag = "resources",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters")),
    responses((status = 201, body = ResourceBody, headers(("Location"), ("ETag")))),
    extensions(("x-permission" = json!(Permission::ResourceCreate.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NameTaken, Code::IdempotencyKeyReused])))))]
pub async fn create(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    IdempotencyHeader(key): IdempotencyHeader,
    Json(wanted): Json<CreateResource>,
) -> Result<Response, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let resource = service::create(&scope, &mut tx, &NewResource::from(wanted), key.as_deref()).await?;
    tx.commit().await?;
    let location = [(header::LOCATION, format!("/api/v1/resources/{}", resource.id))];
    Ok((StatusCode::CREATED, location, tagged(resource)).into_response())
}

/// Show a resource
#[utoipa::path(get, path = "/resources/{id}", operation_id = "get_resource", tag = "resources",
    params(("id" = String, Path, description = "The resource")),
    responses((status = 200, body = ResourceBody, headers(("ETag")))),
    extensions(("x-permission" = json!(Permission::ResourceRead.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn get(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathId(id): PathId<ResourceId>,
) -> Result<Response, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let resource = service::get(&scope, &mut tx, id).await?;
    tx.commit().await?;
    Ok(tagged(resource))
}

/// Change a resource
///
/// What is left out stays; `attributes` are replaced as a whole. With `If-Match` only what the caller has seen is changed.
#[utoipa::path(patch, path = "/resources/{id}", operation_id = "update_resource", tag = "resources",
    params(("id" = String, Path, description = "The resource"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` last seen")),
    responses((status = 200, body = ResourceBody, headers(("ETag")))),
    extensions(("x-permission" = json!(Permission::ResourceUpdate.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::NameTaken, Code::PreconditionFailed])))))]
pub async fn update(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathId(id): PathId<ResourceId>,
    IfMatch(seen): IfMatch,
    Json(wanted): Json<UpdateResource>,
) -> Result<Response, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let resource = service::update(&scope, &mut tx, id, seen.as_deref(), &Changes::from(wanted)).await?;
    tx.commit().await?;
    Ok(tagged(resource))
}

/// Delete a resource
#[utoipa::path(delete, path = "/resources/{id}", operation_id = "delete_resource", tag = "resources",
    params(("id" = String, Path, description = "The resource"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` last seen")),
    responses((status = 204)),
    extensions(("x-permission" = json!(Permission::ResourceDelete.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::PreconditionFailed])))))]
pub async fn delete(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathId(id): PathId<ResourceId>,
    IfMatch(seen): IfMatch,
) -> Result<StatusCode, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    service::delete(&scope, &mut tx, id, seen.as_deref()).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
