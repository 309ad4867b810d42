//! `/roles`: the roles of the active tenant, what they allow and who has them.

mod body;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bulkhead_iam::{
    grants,
    permissions::Permission,
    roles::{Held, NewRole, Role, RoleChanges, service},
};
use bulkhead_kernel::{fault::Code, ids::RoleId};

pub use body::{CreateRole, RoleBody, RoleItem, RolePermissions, RoleUsers, UpdateRole};

use super::permissions::PermissionBody;
use crate::{
    extract::{FreshlyScoped, IdempotencyHeader, IfMatch, Json, PathId, PathIds, PermissionId, Scoped, etag},
    openapi::codes,
    problem::Problem,
    state::AppState,
};

fn shown(role: &Role) -> Response {
    let body = RoleBody {
        role: RoleItem::of(role),
        permissions: listed(&role.permissions),
    };
    ([(header::ETAG, etag(role.version))], Json(body)).into_response()
}

fn listed(permissions: &Held) -> Vec<PermissionBody> {
    permissions.ids().map(PermissionBody::of).collect()
}

/// What a change of a role's permissions is answered with.
fn permissions_of(role: &Role) -> Response {
    ([(header::ETAG, etag(role.version))], Json(listed(&role.permissions))).into_response()
}

/// List the roles
#[utoipa::path(get, path = "/roles", operation_id = "list_roles", tag = "roles",
    responses((status = 200, body = Vec<RoleItem>)),
    extensions(("x-permission" = json!(Permission::RoleRead.as_str()))))]
pub async fn list(State(state): State<AppState>, Scoped(scope): Scoped) -> Result<Json<Vec<RoleItem>>, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let roles = service::list(&scope, &mut tx).await?;
    tx.commit().await?;
    Ok(Json(roles.iter().map(RoleItem::of).collect()))
}

/// Create a role
///
/// Of permissions that the caller holds. Under an `Idempotency-Key` the same request makes one role, however often it is
/// sent.
#[utoipa::path(post, path = "/roles", operation_id = "create_role", tag = "roles",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters")),
    responses((status = 201, body = RoleBody, headers(("Location"), ("ETag")))),
    extensions(("x-permission" = json!(Permission::RoleCreate.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NameTaken, Code::IdempotencyKeyReused, Code::TenantReadOnly])))))]
pub async fn create(
    State(state): State<AppState>,
    FreshlyScoped(scope): FreshlyScoped,
    IdempotencyHeader(key): IdempotencyHeader,
    Json(wanted): Json<CreateRole>,
) -> Result<Response, Problem> {
    let new = NewRole::parse(&wanted.name, &wanted.description, &wanted.permission_ids).map_err(Problem::invalid)?;
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let role = service::create(&scope, &mut tx, &new, key.as_deref()).await?;
    tx.commit().await?;
    let location = [(header::LOCATION, format!("/api/v1/roles/{}", role.id))];
    Ok((StatusCode::CREATED, location, shown(&role)).into_response())
}

/// Show a role with what it allows
#[utoipa::path(get, path = "/roles/{id}", operation_id = "get_role", tag = "roles",
    params(("id" = String, Path, description = "The role")),
    responses((status = 200, body = RoleBody, headers(("ETag")))),
    extensions(("x-permission" = json!(Permission::RoleRead.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn get(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathId(id): PathId<RoleId>,
) -> Result<Response, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let role = service::get(&scope, &mut tx, id).await?;
    tx.commit().await?;
    Ok(shown(&role))
}

/// Change a role
///
/// What is left out stays. The caller has to hold all that the role allows, before and after.
#[utoipa::path(patch, path = "/roles/{id}", operation_id = "update_role", tag = "roles",
    params(("id" = String, Path, description = "The role"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` last seen")),
    responses((status = 200, body = RoleBody, headers(("ETag")))),
    extensions(("x-permission" = json!(Permission::RoleUpdate.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::NameTaken, Code::SystemRole,
            Code::PreconditionFailed, Code::TenantReadOnly])))))]
pub async fn update(
    State(state): State<AppState>,
    FreshlyScoped(scope): FreshlyScoped,
    PathId(id): PathId<RoleId>,
    IfMatch(seen): IfMatch,
    Json(wanted): Json<UpdateRole>,
) -> Result<Response, Problem> {
    let (name, description) = (wanted.name.as_deref(), wanted.description.as_deref());
    let changes = RoleChanges::parse(name, description, wanted.permission_ids.as_deref()).map_err(Problem::invalid)?;
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let role = service::update(&scope, &mut tx, id, seen.as_deref(), &changes).await?;
    tx.commit().await?;
    Ok(shown(&role))
}

/// Delete a role
///
/// One that nobody has any more.
#[utoipa::path(delete, path = "/roles/{id}", operation_id = "delete_role", tag = "roles",
    params(("id" = String, Path, description = "The role"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` last seen")),
    responses((status = 204)),
    extensions(("x-permission" = json!(Permission::RoleDelete.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::RoleAssigned, Code::SystemRole,
            Code::PreconditionFailed, Code::TenantReadOnly])))))]
pub async fn delete(
    State(state): State<AppState>,
    FreshlyScoped(scope): FreshlyScoped,
    PathId(id): PathId<RoleId>,
    IfMatch(seen): IfMatch,
) -> Result<StatusCode, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    service::delete(&scope, &mut tx, id, seen.as_deref()).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List what a role allows, to change it
#[utoipa::path(get, path = "/roles/{id}/permissions", operation_id = "list_role_permissions", tag = "roles",
    params(("id" = String, Path, description = "The role")), responses((status = 200, body = Vec<PermissionBody>)),
    extensions(("x-permission" = json!(Permission::RoleUpdate.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn list_permissions(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathId(id): PathId<RoleId>,
) -> Result<Json<Vec<PermissionBody>>, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let permissions = service::permissions(&scope, &mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(listed(&permissions)))
}

/// Set what a role allows
///
/// The complete set.
#[utoipa::path(put, path = "/roles/{id}/permissions", operation_id = "set_role_permissions", tag = "roles",
    params(("id" = String, Path, description = "The role"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` last seen")),
    responses((status = 200, body = Vec<PermissionBody>, headers(("ETag")))),
    extensions(("x-permission" = json!(Permission::RoleUpdate.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::SystemRole, Code::PreconditionFailed,
            Code::TenantReadOnly])))))]
pub async fn set_permissions(
    State(state): State<AppState>,
    FreshlyScoped(scope): FreshlyScoped,
    PathId(id): PathId<RoleId>,
    IfMatch(seen): IfMatch,
    Json(wanted): Json<RolePermissions>,
) -> Result<Response, Problem> {
    let changes = RoleChanges::parse(None, None, Some(&wanted.permission_ids)).map_err(Problem::invalid)?;
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let role = service::update(&scope, &mut tx, id, seen.as_deref(), &changes).await?;
    tx.commit().await?;
    Ok(permissions_of(&role))
}

/// Add permissions to a role
///
/// Those it has stay. Under an `Idempotency-Key` the same request is answered the same way, whatever the role allows by
/// then.
#[utoipa::path(post, path = "/roles/{id}/permissions", operation_id = "add_role_permissions", tag = "roles",
    params(("id" = String, Path, description = "The role"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` last seen"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters")),
    responses((status = 200, body = Vec<PermissionBody>, headers(("ETag")))),
    extensions(("x-permission" = json!(Permission::RoleUpdate.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::SystemRole, Code::PreconditionFailed,
            Code::IdempotencyKeyReused, Code::TenantReadOnly])))))]
pub async fn add_permissions(
    State(state): State<AppState>,
    FreshlyScoped(scope): FreshlyScoped,
    PathId(id): PathId<RoleId>,
    IfMatch(seen): IfMatch,
    IdempotencyHeader(key): IdempotencyHeader,
    Json(wanted): Json<RolePermissions>,
) -> Result<Response, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let (seen, key) = (seen.as_deref(), key.as_deref());
    let role = service::add_permissions(&scope, &mut tx, id, seen, &wanted.permission_ids, key).await?;
    tx.commit().await?;
    Ok(permissions_of(&role))
}

/// Take a permission from a role
#[utoipa::path(delete, path = "/roles/{id}/permissions/{pid}", operation_id = "remove_role_permission", tag = "roles",
    params(("id" = String, Path, description = "The role"), ("pid" = String, Path, description = "The permission"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` last seen")),
    responses((status = 204)),
    extensions(("x-permission" = json!(Permission::RoleUpdate.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::SystemRole, Code::PreconditionFailed,
            Code::TenantReadOnly])))))]
pub async fn remove_permission(
    State(state): State<AppState>,
    FreshlyScoped(scope): FreshlyScoped,
    PathIds(id, PermissionId(permission)): PathIds<RoleId, PermissionId>,
    IfMatch(seen): IfMatch,
) -> Result<StatusCode, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    service::remove_permission(&scope, &mut tx, id, seen.as_deref(), permission).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List who has a role
#[utoipa::path(get, path = "/roles/{id}/users", operation_id = "list_role_users", tag = "roles",
    params(("id" = String, Path, description = "The role")), responses((status = 200, body = RoleUsers)),
    extensions(("x-permission" = json!("user:read + role:read")),
        ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn list_users(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathId(id): PathId<RoleId>,
) -> Result<Json<RoleUsers>, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let holders = grants::service::holders(&scope, &mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(RoleUsers::of(&holders)))
}

/// Set who has a role
///
/// The complete set: whoever is not in it loses the role.
#[utoipa::path(put, path = "/roles/{id}/users", operation_id = "set_role_users", tag = "roles",
    params(("id" = String, Path, description = "The role")), responses((status = 200, body = RoleUsers)),
    extensions(("x-permission" = json!(Permission::RoleAssignUsers.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::LastOwner, Code::TenantReadOnly])))))]
pub async fn set_users(
    State(state): State<AppState>,
    FreshlyScoped(scope): FreshlyScoped,
    PathId(id): PathId<RoleId>,
    Json(wanted): Json<RoleUsers>,
) -> Result<Json<RoleUsers>, Problem> {
    let wanted = wanted.ids()?;
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let holders = grants::service::set_holders(&scope, &mut tx, id, &wanted).await?;
    tx.commit().await?;
    Ok(Json(RoleUsers::of(&holders)))
}
