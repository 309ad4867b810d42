//! `/users`: the caller, and the members of the active tenant.

use axum::extract::State;
use bulkhead_iam::{
    identities::{self, Identity, Rename},
    members::{self, Member, MemberError},
    permissions::Permission,
};
use bulkhead_tenancy::DbError;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::page::PageBody;
use crate::{
    extract::{Json, PageQuery, Paging, Query, Scoped, SignedIn},
    openapi::SIGNED_IN,
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
    search: Option<String>,
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
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let members = members::service::list(&scope, &mut tx, query.search.as_deref(), page).await?;
    tx.commit().await?;
    Ok(Json(PageBody::of(members, UserBody::from)))
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
