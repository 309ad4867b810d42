//! `/platform/operators`: those who run the platform, among themselves.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bulkhead_iam::operators::{self, NewOperator, service};
use bulkhead_kernel::{fault::Code, ids::IdentityId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::PageBody;
use crate::{
    extract::{Json, Operator, PageQuery, Paging, PathId},
    openapi::{OPERATOR, codes},
    problem::Problem,
    state::AppState,
};

/// Who is to run the platform.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"email": "grace@platform.example", "first_name": "Grace", "last_name": "Hopper"}))]
pub struct CreateOperator {
    email: String,
    /// 1 to 100 characters; kept only of somebody who has no account yet. So is the name below.
    first_name: String,
    last_name: String,
}

/// Somebody who runs the platform, or did.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"id": "usr_0190a1b2c3d4e5f60718293a4b5c6d7e", "email": "grace@platform.example",
    "first_name": "Grace", "last_name": "Hopper", "is_active": true, "created_by": "system",
    "created_at": "2026-11-21T09:00:00Z", "changed_at": "2026-11-21T09:00:00Z"}))]
pub struct OperatorBody {
    id: String,
    email: String,
    first_name: String,
    last_name: String,
    is_active: bool,
    /// The operator who made this one; `system` from a terminal.
    created_by: String,
    created_at: DateTime<Utc>,
    /// When they were last activated or deactivated.
    changed_at: DateTime<Utc>,
}

impl From<operators::Operator> for OperatorBody {
    fn from(operator: operators::Operator) -> Self {
        Self {
            id: operator.id.to_string(),
            email: operator.email,
            first_name: operator.first_name,
            last_name: operator.last_name,
            is_active: operator.is_active,
            created_by: operator.created_by,
            created_at: operator.created_at,
            changed_at: operator.changed_at,
        }
    }
}

/// List those who run the platform
///
/// By address, those included who are not active any more.
#[utoipa::path(get, path = "/operators", operation_id = "list_operators", tag = "platform", params(PageQuery),
    responses((status = 200, body = PageBody<OperatorBody>)), extensions(("x-permission" = json!(OPERATOR))))]
pub async fn list(
    State(state): State<AppState>,
    _: Operator,
    Paging(page): Paging,
) -> Result<Json<PageBody<OperatorBody>>, Problem> {
    let found = service::list(state.iam(), page).await?;
    Ok(Json(PageBody::of(found, OperatorBody::from)))
}

/// Make somebody an operator
///
/// Who has no account gets one, and a mail with a link to choose a password.
#[utoipa::path(post, path = "/operators", operation_id = "create_operator", tag = "platform",
    responses((status = 201, body = OperatorBody, headers(("Location")))),
    extensions(("x-permission" = json!(OPERATOR)), ("x-problem-codes" = json!(codes(&[Code::OperatorExists])))))]
pub async fn create(
    State(state): State<AppState>,
    Operator(caller): Operator,
    Json(wanted): Json<CreateOperator>,
) -> Result<Response, Problem> {
    let new = NewOperator::parse(&wanted.email, &wanted.first_name, &wanted.last_name).map_err(Problem::invalid)?;
    let made = service::create(&caller.origin, state.iam(), caller.principal.identity, &new).await?;
    let location = [(header::LOCATION, format!("/api/v1/platform/operators/{}", made.id))];
    Ok((StatusCode::CREATED, location, Json(OperatorBody::from(made))).into_response())
}

/// Show an operator
#[utoipa::path(get, path = "/operators/{id}", operation_id = "get_operator", tag = "platform",
    params(("id" = String, Path, description = "The operator")), responses((status = 200, body = OperatorBody)),
    extensions(("x-permission" = json!(OPERATOR)), ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn get(
    State(state): State<AppState>,
    _: Operator,
    PathId(id): PathId<IdentityId>,
) -> Result<Json<OperatorBody>, Problem> {
    Ok(Json(service::get(state.iam(), id).await?.into()))
}

/// Deactivate an operator
///
/// Bites with their next request, everywhere; their support access is ended. Operators are never deleted. Nobody deactivates
/// themselves, so that one is always left.
#[utoipa::path(post, path = "/operators/{id}/deactivate", operation_id = "deactivate_operator", tag = "platform",
    params(("id" = String, Path, description = "The operator")), responses((status = 200, body = OperatorBody)),
    extensions(("x-permission" = json!(OPERATOR)),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::OperatorOneself])))))]
pub async fn deactivate(
    State(state): State<AppState>,
    Operator(caller): Operator,
    PathId(id): PathId<IdentityId>,
) -> Result<Json<OperatorBody>, Problem> {
    let changed = service::deactivate(&caller.origin, state.iam(), caller.principal.identity, id).await?;
    Ok(Json(changed.into()))
}

/// Let a deactivated operator act again
#[utoipa::path(post, path = "/operators/{id}/reactivate", operation_id = "reactivate_operator", tag = "platform",
    params(("id" = String, Path, description = "The operator")), responses((status = 200, body = OperatorBody)),
    extensions(("x-permission" = json!(OPERATOR)), ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn reactivate(
    State(state): State<AppState>,
    Operator(caller): Operator,
    PathId(id): PathId<IdentityId>,
) -> Result<Json<OperatorBody>, Problem> {
    let changed = service::reactivate(&caller.origin, state.iam(), caller.principal.identity, id).await?;
    Ok(Json(changed.into()))
}
