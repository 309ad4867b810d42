//! Operators inside a tenant: let in below `/platform/tenants/{id}/support-access`, seen and turned out by the tenant below
//! `/support-access`.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bulkhead_iam::{
    permissions::Permission,
    support_access::{SupportAccess, Wanted, service},
};
use bulkhead_kernel::{
    fault::Code,
    ids::{SupportAccessId, TenantId},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::PageBody;
use crate::{
    extract::{FreshlyScoped, Json, Operator, PageQuery, Paging, PathId, PathIds, Scoped},
    openapi::{OPERATOR, codes},
    problem::Problem,
    state::AppState,
};

/// What an operator wants in a tenant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"reason": "ticket 4711: machines do not start", "minutes": 30}))]
pub struct GrantSupportAccess {
    /// 10 to 500 characters. The tenant reads it.
    reason: String,
    /// 1 to 480.
    #[schema(default = 60)]
    minutes: Option<i64>,
    /// Whether to do the daily work of a member as well as to look.
    #[serde(default)]
    write: bool,
}

/// An operator's way into a tenant.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"id": "sup_0190a1b2c3d4e5f60718293a4b5c6d7e", "tenant_id": "org_0190a1b2c3d4e5f60718293a4b5c6d7e",
    "operator": {"id": "usr_0190a1b2c3d4e5f60718293a4b5c6d7e", "email": "grace@platform.example"},
    "reason": "ticket 4711: machines do not start", "is_read_only": true, "is_live": false,
    "created_at": "2026-11-21T09:00:00Z", "expires_at": "2026-11-21T09:30:00Z", "ended_at": "2026-11-21T09:10:00Z",
    "ended_by": "usr_0190a1b2c3d4e5f60718293a4b5c6d7f"}))]
pub struct SupportAccessBody {
    /// The audit log names it as the actor of what is done through it.
    id: String,
    tenant_id: String,
    operator: SupporterBody,
    reason: String,
    is_read_only: bool,
    /// Neither ended nor expired.
    is_live: bool,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    /// When it was ended before it expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<DateTime<Utc>>,
    /// Who ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_by: Option<String>,
}

/// Who has it.
#[derive(Serialize, ToSchema)]
pub struct SupporterBody {
    id: String,
    email: String,
}

impl SupportAccessBody {
    fn of(access: SupportAccess, now: DateTime<Utc>) -> Self {
        Self {
            is_live: access.is_live(now),
            id: access.id.to_string(),
            tenant_id: access.tenant.to_string(),
            operator: SupporterBody {
                id: access.operator.to_string(),
                email: access.email,
            },
            reason: access.reason,
            is_read_only: !access.can_write,
            created_at: access.created_at,
            expires_at: access.expires_at,
            ended_at: access.ended_at,
            ended_by: access.ended_by,
        }
    }
}

/// Get support access to a tenant
///
/// For the caller, who then names the tenant in `X-Org-ID`. Read-only unless `write` is asked for. The tenant sees it and
/// can end it.
#[utoipa::path(post, path = "/tenants/{id}/support-access", operation_id = "grant_support_access", tag = "platform",
    params(("id" = String, Path, description = "The tenant")),
    responses((status = 201, body = SupportAccessBody, headers(("Location")))),
    extensions(("x-permission" = json!(OPERATOR)), ("x-problem-codes" = json!(codes(&[Code::TenantNotFound])))))]
pub async fn grant(
    State(state): State<AppState>,
    Operator(caller): Operator,
    PathId(id): PathId<TenantId>,
    Json(wanted): Json<GrantSupportAccess>,
) -> Result<Response, Problem> {
    let wanted = Wanted::parse(&wanted.reason, wanted.minutes, wanted.write).map_err(Problem::invalid)?;
    let given = service::grant(&caller.origin, state.iam(), caller.principal.identity, id, &wanted).await?;
    let location = format!("/api/v1/platform/tenants/{id}/support-access/{}", given.id);
    let body = SupportAccessBody::of(given, state.clock().now());
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(body)).into_response())
}

/// List the support access to a tenant
///
/// The newest first, what is over included.
#[utoipa::path(get, path = "/tenants/{id}/support-access", operation_id = "list_support_access", tag = "platform",
    params(("id" = String, Path, description = "The tenant"), PageQuery),
    responses((status = 200, body = PageBody<SupportAccessBody>)),
    extensions(("x-permission" = json!(OPERATOR)), ("x-problem-codes" = json!(codes(&[Code::TenantNotFound])))))]
pub async fn list(
    State(state): State<AppState>,
    _: Operator,
    PathId(id): PathId<TenantId>,
    Paging(page): Paging,
) -> Result<Json<PageBody<SupportAccessBody>>, Problem> {
    let found = service::list(state.iam(), id, page).await?;
    let now = state.clock().now();
    Ok(Json(PageBody::of(found, |access| SupportAccessBody::of(access, now))))
}

/// End support access to a tenant
///
/// Whoever has it. What is over stays as it is.
#[utoipa::path(delete, path = "/tenants/{id}/support-access/{access}", operation_id = "end_support_access",
    tag = "platform", params(("id" = String, Path, description = "The tenant"),
        ("access" = String, Path, description = "The support access")), responses((status = 204)),
    extensions(("x-permission" = json!(OPERATOR)),
        ("x-problem-codes" = json!(codes(&[Code::TenantNotFound, Code::NotFound])))))]
pub async fn end(
    State(state): State<AppState>,
    Operator(caller): Operator,
    PathIds(id, access): PathIds<TenantId, SupportAccessId>,
) -> Result<StatusCode, Problem> {
    service::end(&caller.origin, state.iam(), id, access).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// See who of the platform's support was let in
///
/// The newest first, what is over included.
#[utoipa::path(get, path = "/support-access", operation_id = "list_own_support_access", tag = "audit",
    params(PageQuery), responses((status = 200, body = PageBody<SupportAccessBody>)),
    extensions(("x-permission" = json!(Permission::AuditRead.as_str()))))]
pub async fn list_own(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    Paging(page): Paging,
) -> Result<Json<PageBody<SupportAccessBody>>, Problem> {
    let found = service::list_own(&scope, state.iam(), page).await?;
    let now = scope.clock.now();
    Ok(Json(PageBody::of(found, |access| SupportAccessBody::of(access, now))))
}

/// Turn the platform's support out
///
/// Bites with the operator's next request, everywhere. What is over stays as it is.
#[utoipa::path(delete, path = "/support-access/{id}", operation_id = "end_own_support_access", tag = "audit",
    params(("id" = String, Path, description = "The support access")), responses((status = 204)),
    extensions(("x-permission" = json!(Permission::SupportAccessEnd.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn end_own(
    State(state): State<AppState>,
    FreshlyScoped(scope): FreshlyScoped,
    PathId(id): PathId<SupportAccessId>,
) -> Result<StatusCode, Problem> {
    service::end_own(&scope, state.iam(), id).await?;
    Ok(StatusCode::NO_CONTENT)
}
