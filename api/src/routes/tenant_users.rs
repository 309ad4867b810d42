//! `/tenants/{id}/users`: what `/users` is, in the tenant of the path, and the roles of one user.

use axum::{extract::State, http::StatusCode, response::Response};
use bulkhead_iam::{Scope, grants, members, permissions::Permission};
use bulkhead_kernel::{
    fault::Code,
    ids::{IdentityId, RoleId, TenantId},
};
use bulkhead_tenancy::TenantSelector;
use bulkhead_tenants::service;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    page::PageBody,
    tenants::check_same_tenant,
    users::{self, CreateUser, UpdateUser, UserBody, UserQuery},
};
use crate::{
    extract::{IdempotencyHeader, IfMatch, Json, PageQuery, Paging, PathId, PathIds, PathIds3, Query, SignedIn},
    openapi::codes,
    problem::Problem,
    state::AppState,
};

/// A role for a user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"role_id": "rol_0190a1b2c3d4e5f60718293a4b5c6d7e"}))]
pub struct AssignRole {
    /// A role within what the caller holds.
    role_id: String,
}

/// The caller in the tenant of the path, with rights read in this very moment. To who is no member it does not exist;
/// token and header must not name another.
async fn scope_in(state: &AppState, signed_in: SignedIn, id: TenantId) -> Result<Scope, Problem> {
    let (identity, session) = (signed_in.principal.identity, signed_in.principal.session);
    let membership = service::get(state.db(), identity, id).await?;
    check_same_tenant(&signed_in, &membership.tenant)?;
    let iam = state.iam();
    let authority = members::service::authority_now(iam, id, identity, session).await?;
    let tenant = state.db().resolve(&TenantSelector::Id(id)).await?;
    let clock = iam.clock.clone();
    Ok(Scope::new(
        identity,
        session,
        &authority,
        tenant,
        signed_in.origin,
        clock,
    ))
}

/// List the members of a tenant
#[utoipa::path(get, path = "/{id}/users", operation_id = "list_tenant_users", tag = "users",
    params(("id" = String, Path, description = "The tenant"), PageQuery, UserQuery),
    responses((status = 200, body = PageBody<UserBody>)),
    extensions(("x-permission" = json!(Permission::UserRead.as_str()))))]
pub async fn list(
    State(state): State<AppState>,
    signed_in: SignedIn,
    PathId(id): PathId<TenantId>,
    Paging(page): Paging,
    Query(query): Query<UserQuery>,
) -> Result<Json<PageBody<UserBody>>, Problem> {
    let scope = scope_in(&state, signed_in, id).await?;
    users::list_in(&state, &scope, page, &query).await
}

/// Add somebody to a tenant
#[utoipa::path(post, path = "/{id}/users", operation_id = "create_tenant_user", tag = "users",
    params(("id" = String, Path, description = "The tenant"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters")),
    responses((status = 201, body = UserBody, headers(("Location"), ("ETag")))),
    extensions(("x-permission" = json!(Permission::UserCreate.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::AlreadyMember, Code::IdempotencyKeyReused, Code::TenantReadOnly])))))]
pub async fn create(
    State(state): State<AppState>,
    signed_in: SignedIn,
    PathId(id): PathId<TenantId>,
    IdempotencyHeader(key): IdempotencyHeader,
    Json(wanted): Json<CreateUser>,
) -> Result<Response, Problem> {
    let scope = scope_in(&state, signed_in, id).await?;
    users::create_in(&state, &scope, &wanted, key.as_deref()).await
}

/// Show a member of a tenant
#[utoipa::path(get, path = "/{id}/users/{uid}", operation_id = "get_tenant_user", tag = "users",
    params(("id" = String, Path, description = "The tenant"), ("uid" = String, Path, description = "The user")),
    responses((status = 200, body = UserBody, headers(("ETag")))),
    extensions(("x-permission" = json!(Permission::UserRead.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn get(
    State(state): State<AppState>,
    signed_in: SignedIn,
    PathIds(id, user): PathIds<TenantId, IdentityId>,
) -> Result<Response, Problem> {
    let scope = scope_in(&state, signed_in, id).await?;
    users::get_in(&state, &scope, user).await
}

/// Change, activate or deactivate a member of a tenant
#[utoipa::path(patch, path = "/{id}/users/{uid}", operation_id = "update_tenant_user", tag = "users",
    params(("id" = String, Path, description = "The tenant"), ("uid" = String, Path, description = "The user"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` last seen")),
    responses((status = 200, body = UserBody, headers(("ETag")))),
    extensions(("x-permission" = json!(Permission::UserUpdate.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::LastOwner, Code::MemberUnlinked,
            Code::PreconditionFailed, Code::TenantReadOnly])))))]
pub async fn update(
    State(state): State<AppState>,
    signed_in: SignedIn,
    PathIds(id, user): PathIds<TenantId, IdentityId>,
    IfMatch(seen): IfMatch,
    Json(wanted): Json<UpdateUser>,
) -> Result<Response, Problem> {
    let scope = scope_in(&state, signed_in, id).await?;
    users::update_in(&state, &scope, user, seen.as_deref(), &wanted).await
}

/// Remove a member from a tenant
#[utoipa::path(delete, path = "/{id}/users/{uid}", operation_id = "delete_tenant_user", tag = "users",
    params(("id" = String, Path, description = "The tenant"), ("uid" = String, Path, description = "The user"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` last seen")),
    responses((status = 204)),
    extensions(("x-permission" = json!(Permission::UserDelete.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::LastOwner, Code::PreconditionFailed,
            Code::TenantReadOnly])))))]
pub async fn delete(
    State(state): State<AppState>,
    signed_in: SignedIn,
    PathIds(id, user): PathIds<TenantId, IdentityId>,
    IfMatch(seen): IfMatch,
) -> Result<StatusCode, Problem> {
    let scope = scope_in(&state, signed_in, id).await?;
    users::delete_in(&state, &scope, user, seen.as_deref()).await
}

/// Give a user one more role
///
/// A role within what the caller holds, for a user who holds no more than the caller. One they have they keep.
/// Under an `Idempotency-Key` the same request is answered the same way, whatever they have by then.
#[utoipa::path(post, path = "/{id}/users/{uid}/roles", operation_id = "assign_user_role", tag = "users",
    params(("id" = String, Path, description = "The tenant"), ("uid" = String, Path, description = "The user"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters")),
    responses((status = 200, body = UserBody, headers(("ETag")))),
    extensions(("x-permission" = json!(Permission::RoleAssignUsers.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::IdempotencyKeyReused, Code::TenantReadOnly])))))]
pub async fn assign_role(
    State(state): State<AppState>,
    signed_in: SignedIn,
    PathIds(id, user): PathIds<TenantId, IdentityId>,
    IdempotencyHeader(key): IdempotencyHeader,
    Json(wanted): Json<AssignRole>,
) -> Result<Response, Problem> {
    let scope = scope_in(&state, signed_in, id).await?;
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let member = members::service::assign_role(&scope, &mut tx, user, &wanted.role_id, key.as_deref()).await?;
    tx.commit().await?;
    Ok(users::tagged(member))
}

/// Take a role from a user
///
/// Who holds no more than the caller.
#[utoipa::path(delete, path = "/{id}/users/{uid}/roles/{role_id}", operation_id = "unassign_user_role", tag = "users",
    params(("id" = String, Path, description = "The tenant"), ("uid" = String, Path, description = "The user"),
        ("role_id" = String, Path, description = "The role")),
    responses((status = 204)),
    extensions(("x-permission" = json!(Permission::RoleAssignUsers.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::LastOwner, Code::TenantReadOnly])))))]
pub async fn unassign_role(
    State(state): State<AppState>,
    signed_in: SignedIn,
    PathIds3(id, user, role): PathIds3<TenantId, IdentityId, RoleId>,
) -> Result<StatusCode, Problem> {
    let scope = scope_in(&state, signed_in, id).await?;
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    grants::service::unassign(&scope, &mut tx, user, role).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
