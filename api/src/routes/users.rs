//! `/users`: the caller, and the members of the active tenant.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bulkhead_iam::{
    Scope,
    identities::{self, Identity, Rename},
    members::{self, Member, MemberChanges, MemberError, NewMember},
    permissions::Permission,
};
use bulkhead_kernel::{fault::Code, ids::IdentityId, page::PageRequest};
use bulkhead_tenancy::DbError;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::page::PageBody;
use crate::{
    extract::{
        FreshlyScoped, IdempotencyHeader, IfMatch, Json, PageQuery, Paging, PathId, Query, Scoped, SignedIn, etag,
    },
    openapi::{SIGNED_IN, codes},
    problem::Problem,
    state::AppState,
};

/// A person; in a tenant with the roles they have there.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"id": "usr_0190a1b2c3d4e5f60718293a4b5c6d7e", "email": "ada@example.com", "first_name": "Ada",
    "last_name": "Lovelace", "is_active": true, "roles": ["owner"]}))]
pub struct UserBody {
    id: String,
    email: String,
    first_name: String,
    last_name: String,
    is_active: bool,
    /// The names of the roles in the active tenant; none where no tenant is active.
    roles: Vec<String>,
}

impl UserBody {
    fn of(identity: Identity, roles: Vec<String>) -> Self {
        Self {
            id: identity.id.to_string(),
            email: identity.email,
            first_name: identity.first_name,
            last_name: identity.last_name,
            is_active: identity.is_active,
            roles,
        }
    }
}

impl From<Member> for UserBody {
    fn from(member: Member) -> Self {
        Self {
            id: member.id.to_string(),
            email: member.email,
            first_name: member.first_name,
            last_name: member.last_name,
            is_active: member.is_active,
            roles: member.roles,
        }
    }
}

/// What the caller wants to be called.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"first_name": "Ada", "last_name": "King"}))]
pub struct UpdateMe {
    /// 1 to 100 characters.
    first_name: Option<String>,
    /// 1 to 100 characters.
    last_name: Option<String>,
}

/// Which members.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UserQuery {
    /// Part of the address or the name, whatever its case.
    pub(super) search: Option<String>,
}

/// Somebody who is to be a member.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"email": "bob@example.com", "first_name": "Bob", "last_name": "Baker",
    "role_ids": ["rol_0190a1b2c3d4e5f60718293a4b5c6d7e"]}))]
pub struct CreateUser {
    email: String,
    /// 1 to 100 characters.
    first_name: String,
    /// 1 to 100 characters.
    last_name: String,
    /// Roles within what the caller holds; they take `role:assign_users` as well.
    #[serde(default)]
    role_ids: Vec<String>,
}

/// A change of a member; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"is_active": false}))]
pub struct UpdateUser {
    /// Whether the member may enter the tenant. Who may not keeps their roles.
    is_active: Option<bool>,
    /// 1 to 100 characters; what this tenant calls them.
    first_name: Option<String>,
    /// 1 to 100 characters; what this tenant calls them.
    last_name: Option<String>,
}

/// With their tag, which a change of them can name.
pub(super) fn tagged(member: Member) -> Response {
    let tag = [(header::ETAG, etag(member.version))];
    (tag, Json(UserBody::from(member))).into_response()
}

/// Show the caller
#[utoipa::path(get, path = "/users/me", operation_id = "get_me", tag = "users",
    responses((status = 200, body = UserBody)), extensions(("x-permission" = json!(SIGNED_IN))))]
pub async fn me(State(state): State<AppState>, signed_in: SignedIn) -> Result<Json<UserBody>, Problem> {
    let identity = identities::service::me(state.iam(), signed_in.principal.identity).await?;
    let roles = roles(&state, &signed_in).await?;
    Ok(Json(UserBody::of(identity, roles)))
}

/// Change the caller's names
///
/// What is absent stays. The tenants the caller belongs to follow shortly.
#[utoipa::path(patch, path = "/users/me", operation_id = "update_me", tag = "users",
    responses((status = 200, body = UserBody)), extensions(("x-permission" = json!(SIGNED_IN))))]
pub async fn update_me(
    State(state): State<AppState>,
    signed_in: SignedIn,
    Json(update): Json<UpdateMe>,
) -> Result<Json<UserBody>, Problem> {
    let names = Rename::parse(update.first_name.as_deref(), update.last_name.as_deref()).map_err(Problem::invalid)?;
    let caller = signed_in.principal.identity;
    let identity = identities::service::rename(&signed_in.origin, state.iam(), caller, &names).await?;
    let roles = roles(&state, &signed_in).await?;
    Ok(Json(UserBody::of(identity, roles)))
}

/// List the members of the tenant
#[utoipa::path(get, path = "/users", operation_id = "list_users", tag = "users", params(PageQuery, UserQuery),
    responses((status = 200, body = PageBody<UserBody>)),
    extensions(("x-permission" = json!(Permission::UserRead.as_str()))))]
pub async fn list(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    Paging(page): Paging,
    Query(query): Query<UserQuery>,
) -> Result<Json<PageBody<UserBody>>, Problem> {
    list_in(&state, &scope, page, &query).await
}

pub(super) async fn list_in(
    state: &AppState,
    scope: &Scope,
    page: PageRequest,
    query: &UserQuery,
) -> Result<Json<PageBody<UserBody>>, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let members = members::service::list(scope, &mut tx, query.search.as_deref(), page).await?;
    tx.commit().await?;
    Ok(Json(PageBody::of(members, UserBody::from)))
}

/// Add somebody to the tenant
///
/// By address: a person who is not known yet gets an account and a mail. The answer does not tell whether they were. Who
/// is a member but inactive is let in again, with the roles they kept. Under an `Idempotency-Key` the same request adds
/// them once, however often it is sent.
#[utoipa::path(post, path = "/users", operation_id = "create_user", tag = "users",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters")),
    responses((status = 201, body = UserBody, headers(("Location"), ("ETag")))),
    extensions(("x-permission" = json!(Permission::UserCreate.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::AlreadyMember, Code::IdempotencyKeyReused, Code::TenantReadOnly])))))]
pub async fn create(
    State(state): State<AppState>,
    FreshlyScoped(scope): FreshlyScoped,
    IdempotencyHeader(key): IdempotencyHeader,
    Json(wanted): Json<CreateUser>,
) -> Result<Response, Problem> {
    create_in(&state, &scope, &wanted, key.as_deref()).await
}

pub(super) async fn create_in(
    state: &AppState,
    scope: &Scope,
    wanted: &CreateUser,
    key: Option<&str>,
) -> Result<Response, Problem> {
    let CreateUser {
        email,
        first_name,
        last_name,
        role_ids,
    } = wanted;
    let new = NewMember::parse(email, first_name, last_name, role_ids).map_err(Problem::invalid)?;
    let member = members::service::add(scope, state.iam(), &new, key).await?;
    let location = [(header::LOCATION, format!("/api/v1/users/{}", member.id))];
    Ok((StatusCode::CREATED, location, tagged(member)).into_response())
}

/// Show a member
#[utoipa::path(get, path = "/users/{id}", operation_id = "get_user", tag = "users",
    params(("id" = String, Path, description = "The user")),
    responses((status = 200, body = UserBody, headers(("ETag")))),
    extensions(("x-permission" = json!(Permission::UserRead.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn get(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathId(id): PathId<IdentityId>,
) -> Result<Response, Problem> {
    get_in(&state, &scope, id).await
}

pub(super) async fn get_in(state: &AppState, scope: &Scope, id: IdentityId) -> Result<Response, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let member = members::service::get(scope, &mut tx, id).await?;
    tx.commit().await?;
    Ok(tagged(member))
}

/// Change, activate or deactivate a member
///
/// One who holds no more than the caller. Deactivation bites within a second everywhere.
#[utoipa::path(patch, path = "/users/{id}", operation_id = "update_user", tag = "users",
    params(("id" = String, Path, description = "The user"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` last seen")),
    responses((status = 200, body = UserBody, headers(("ETag")))),
    extensions(("x-permission" = json!(Permission::UserUpdate.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::LastOwner, Code::MemberUnlinked,
            Code::PreconditionFailed, Code::TenantReadOnly])))))]
pub async fn update(
    State(state): State<AppState>,
    FreshlyScoped(scope): FreshlyScoped,
    PathId(id): PathId<IdentityId>,
    IfMatch(seen): IfMatch,
    Json(wanted): Json<UpdateUser>,
) -> Result<Response, Problem> {
    update_in(&state, &scope, id, seen.as_deref(), &wanted).await
}

pub(super) async fn update_in(
    state: &AppState,
    scope: &Scope,
    id: IdentityId,
    seen: Option<&[i64]>,
    wanted: &UpdateUser,
) -> Result<Response, Problem> {
    let (first_name, last_name) = (wanted.first_name.as_deref(), wanted.last_name.as_deref());
    let changes = MemberChanges::parse(wanted.is_active, first_name, last_name).map_err(Problem::invalid)?;
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let member = members::service::update(scope, &mut tx, id, seen, &changes).await?;
    tx.commit().await?;
    Ok(tagged(member))
}

/// Remove a member from the tenant
///
/// One who holds no more than the caller. The person keeps the account and every other tenant.
#[utoipa::path(delete, path = "/users/{id}", operation_id = "delete_user", tag = "users",
    params(("id" = String, Path, description = "The user"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` last seen")),
    responses((status = 204)),
    extensions(("x-permission" = json!(Permission::UserDelete.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::LastOwner, Code::PreconditionFailed,
            Code::TenantReadOnly])))))]
pub async fn delete(
    State(state): State<AppState>,
    FreshlyScoped(scope): FreshlyScoped,
    PathId(id): PathId<IdentityId>,
    IfMatch(seen): IfMatch,
) -> Result<StatusCode, Problem> {
    delete_in(&state, &scope, id, seen.as_deref()).await
}

pub(super) async fn delete_in(
    state: &AppState,
    scope: &Scope,
    id: IdentityId,
    seen: Option<&[i64]>,
) -> Result<StatusCode, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    members::service::remove(scope, &mut tx, id, seen).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The caller's roles. A tenant that the token is bound to may have been left or closed since; the person stays who they
/// are. One that the request names must be right.
async fn roles(state: &AppState, signed_in: &SignedIn) -> Result<Vec<String>, Problem> {
    let tenant = match (signed_in.bound, &signed_in.named) {
        (Some(bound), _) => bound,
        (None, Some(named)) => state.db().resolve(named).await?.id,
        (None, None) => return Ok(Vec::new()),
    };
    let principal = &signed_in.principal;
    let found = members::service::authority(state.iam(), tenant, principal.identity, principal.session).await;
    match found {
        Ok(authority) => Ok(authority.roles.clone()),
        Err(
            MemberError::TenantNotFound | MemberError::Database(DbError::TenantNotFound | DbError::TenantNotActive),
        ) if signed_in.bound.is_some() => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}
