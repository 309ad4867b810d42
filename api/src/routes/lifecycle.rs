//! `/tenants/{id}` at its turning points: deleted by its owner, closed, opened and brought back by operators.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bulkhead_audit::Actor;
use bulkhead_iam::{
    identities::{self, IdentityError},
    permissions::Permission,
};
use bulkhead_kernel::{
    fault::{Code, Violation},
    ids::TenantId,
};
use bulkhead_tenancy::TableRows;
use bulkhead_tenants::{Footprint, Reason, Suspension, lifecycle::service, profile};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::tenants::{TenantBody, check_same_tenant};
use crate::{
    extract::{Json, Operator, OptionalJson, PathId, Query, SignedIn},
    openapi::{OPERATOR, codes},
    problem::Problem,
    state::AppState,
};

/// What is written down where nobody says why.
const NO_REASON: &str = "no reason given";

/// How a tenant is closed, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"mode": "read_only", "reason": "invoice 4711 is unpaid"}))]
pub struct SuspendTenant {
    /// `read_only` or `full`.
    mode: String,
    /// 1 to 500 characters.
    reason: String,
}

/// Why a tenant is opened or brought back.
#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"reason": "invoice 4711 is paid"}))]
pub struct Because {
    /// 1 to 500 characters.
    reason: Option<String>,
}

/// How a deletion is meant.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeleteQuery {
    /// Deletes nothing and tells what would go.
    #[serde(default)]
    dry_run: bool,
    /// Why; 1 to 500 characters.
    reason: Option<String>,
}

/// What the purge of a tenant would remove.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"tables": [{"table": "members", "rows": 3}], "shared_tables": [{"table": "jobs", "rows": 12}],
    "members": 3, "vms": 2, "jobs": 12, "keys": 0, "bytes": 1_245_184}))]
pub struct FootprintBody {
    /// The tenant's own tables. Rows are counted up to a million, here and below.
    tables: Vec<TableBody>,
    /// The tables of all tenants, with this one's rows.
    shared_tables: Vec<TableBody>,
    members: i64,
    /// Machines, the deleted ones of which there is still a record included.
    vms: i64,
    jobs: i64,
    /// API keys.
    keys: i64,
    /// What the tenant's own tables take on disk.
    bytes: i64,
}

/// A table and its rows.
#[derive(Serialize, ToSchema)]
pub struct TableBody {
    table: String,
    rows: i64,
}

impl From<TableRows> for TableBody {
    fn from(TableRows { table, rows }: TableRows) -> Self {
        Self { table, rows }
    }
}

impl From<Footprint> for FootprintBody {
    fn from(footprint: Footprint) -> Self {
        Self {
            members: footprint.rows("members"),
            vms: footprint.rows("vms"),
            jobs: footprint.shared_rows("jobs"),
            keys: footprint.rows("api_keys"),
            bytes: footprint.bytes,
            tables: footprint.tables.into_iter().map(TableBody::from).collect(),
            shared_tables: footprint.shared_tables.into_iter().map(TableBody::from).collect(),
        }
    }
}

/// Delete a tenant
///
/// Closes it at once. Its data goes when the grace is over, `purge_at`; until then an operator can bring it back. With
/// `dry_run=true` nothing is deleted and the answer, 200, tells what would go. Owners delete their own tenant, operators
/// any.
#[utoipa::path(delete, path = "/{id}", operation_id = "delete_tenant", tag = "tenants",
    params(("id" = String, Path, description = "The tenant"), DeleteQuery),
    responses((status = 200, body = FootprintBody), (status = 202, body = TenantBody, headers(("Location")))),
    extensions(("x-permission" = json!(Permission::TenantDelete.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::TenantStateConflict])))))]
pub async fn delete(
    State(state): State<AppState>,
    signed_in: SignedIn,
    PathId(id): PathId<TenantId>,
    Query(query): Query<DeleteQuery>,
) -> Result<Response, Problem> {
    let reason = reason(query.reason.as_deref())?;
    let actor = require_deletion(&state, &signed_in, id).await?;
    if query.dry_run {
        let footprint = service::footprint(state.db(), id).await?;
        return Ok(Json(FootprintBody::from(footprint)).into_response());
    }
    let (by, grace) = ((signed_in.principal.identity, actor), state.tenants().deletion_grace);
    let profile = service::delete(&signed_in.origin, state.db(), id, by, &reason, grace).await?;
    let location = [(header::LOCATION, format!("/api/v1/tenants/{id}"))];
    Ok((StatusCode::ACCEPTED, location, Json(TenantBody::of(profile, None))).into_response())
}

/// Operators may delete every tenant, owners the one they are in. Gives as what the caller acts.
async fn require_deletion(state: &AppState, signed_in: &SignedIn, id: TenantId) -> Result<Actor, Problem> {
    let Err(refused) = service::require_deletion(state.iam(), &signed_in.principal, id).await else {
        let profile = profile::service::get(state.db(), id).await?;
        check_same_tenant(signed_in, &profile.tenant)?;
        return Ok(Actor::member(signed_in.principal.identity));
    };
    match identities::service::require_operator(state.iam(), signed_in.principal.identity).await {
        Err(IdentityError::NotAnOperator) => Err(refused.into()),
        operator => Ok(operator.map(|()| Actor::operator(&signed_in.origin))?),
    }
}

/// Suspend a tenant
///
/// Bites within a second everywhere. `read_only` lets members read; `full` lets nobody in. Jobs wait, machines of a tenant
/// suspended in full are left as they are. A suspended tenant can be suspended otherwise.
#[utoipa::path(post, path = "/{id}/suspend", operation_id = "suspend_tenant", tag = "tenants",
    params(("id" = String, Path, description = "The tenant")), responses((status = 200, body = TenantBody)),
    extensions(("x-permission" = json!(OPERATOR)),
        ("x-problem-codes" = json!(codes(&[Code::TenantNotFound, Code::TenantStateConflict])))))]
pub async fn suspend(
    State(state): State<AppState>,
    Operator(caller): Operator,
    PathId(id): PathId<TenantId>,
    Json(wanted): Json<SuspendTenant>,
) -> Result<Json<TenantBody>, Problem> {
    let (mode, why) = (wanted.mode.parse::<Suspension>(), wanted.reason.parse::<Reason>());
    let (mode, why) = match (mode, why) {
        (Ok(mode), Ok(why)) => (mode, why),
        (mode, why) => return Err(Problem::invalid(mode.err().into_iter().chain(why.err()).collect())),
    };
    let profile = service::suspend(&caller.origin, state.db(), id, mode, &why).await?;
    Ok(Json(TenantBody::of(profile, None)))
}

/// Resume a suspended tenant
///
/// Its jobs go on. One that is active stays so.
#[utoipa::path(post, path = "/{id}/resume", operation_id = "resume_tenant", tag = "tenants",
    params(("id" = String, Path, description = "The tenant")), request_body = Because,
    responses((status = 200, body = TenantBody)),
    extensions(("x-permission" = json!(OPERATOR)),
        ("x-problem-codes" = json!(codes(&[Code::TenantNotFound, Code::TenantStateConflict])))))]
pub async fn resume(
    State(state): State<AppState>,
    Operator(caller): Operator,
    PathId(id): PathId<TenantId>,
    OptionalJson(because): OptionalJson<Because>,
) -> Result<Json<TenantBody>, Problem> {
    let reason = reason(because.reason.as_deref())?;
    let profile = service::resume(&caller.origin, state.db(), id, &reason).await?;
    Ok(Json(TenantBody::of(profile, None)))
}

/// Restore a deleted tenant
///
/// Within its grace, until the purge begins. It is exactly as it was, also suspended where it was.
#[utoipa::path(post, path = "/{id}/restore", operation_id = "restore_tenant", tag = "tenants",
    params(("id" = String, Path, description = "The tenant")), request_body = Because,
    responses((status = 200, body = TenantBody)),
    extensions(("x-permission" = json!(OPERATOR)),
        ("x-problem-codes" = json!(codes(&[Code::TenantNotFound, Code::TenantStateConflict])))))]
pub async fn restore(
    State(state): State<AppState>,
    Operator(caller): Operator,
    PathId(id): PathId<TenantId>,
    OptionalJson(because): OptionalJson<Because>,
) -> Result<Json<TenantBody>, Problem> {
    let reason = reason(because.reason.as_deref())?;
    let profile = service::restore(&caller.origin, state.db(), id, &reason).await?;
    Ok(Json(TenantBody::of(profile, None)))
}

fn reason(text: Option<&str>) -> Result<Reason, Problem> {
    let reason = text.unwrap_or(NO_REASON).parse();
    reason.map_err(|violation: Violation| Problem::invalid(vec![violation]))
}
