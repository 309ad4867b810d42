//! `/platform/tenants/{id}/move`: tenants on their way from cluster to cluster. A worker carries the moves out.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bulkhead_kernel::{
    fault::Code,
    ids::{MoveId, TenantId},
};
use bulkhead_tenancy::Cluster;
use bulkhead_tenants::moves::{self, Move};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    extract::{Json, Operator, PathId, PathIds},
    openapi::{OPERATOR, codes},
    problem::Problem,
    state::AppState,
};

/// Where a tenant is to go.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"cluster": "b"}))]
pub struct MoveTenantBody {
    /// The name of a cluster of the settings, or `home`.
    cluster: String,
}

/// A move of a tenant.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"id": "mov_0190a1b2c3d4e5f60718293a4b5c6d7e", "tenant_id": "org_0190a1b2c3d4e5f60718293a4b5c6d7e",
    "from_cluster": "home", "to_cluster": "b", "state": "copying", "tables": 0, "rows": 0, "bytes": 0,
    "created_at": "2026-11-21T12:00:00Z", "frozen_at": "2026-11-21T12:00:01Z"}))]
pub struct MoveBody {
    id: String,
    tenant_id: String,
    from_cluster: String,
    to_cluster: String,
    /// The step that is next: `preparing`, `copying`, `verifying`, `catching_up`, `freezing`, `switching`, `releasing`,
    /// `erasing`, or `aborting`; at the end `done` or `aborted`.
    state: &'static str,
    /// Why it was aborted, or what it fails at.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    tables: i32,
    rows: i64,
    bytes: i64,
    created_at: DateTime<Utc>,
    /// From when on the tenant could only be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    frozen_at: Option<DateTime<Utc>>,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    thawed_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<DateTime<Utc>>,
}

impl From<Move> for MoveBody {
    fn from(moved: Move) -> Self {
        Self {
            id: moved.id.to_string(),
            tenant_id: moved.tenant.to_string(),
            from_cluster: moved.from.to_string(),
            to_cluster: moved.to.to_string(),
            state: moved.state.as_str(),
            error: moved.error,
            tables: moved.n_tables,
            rows: moved.n_rows,
            bytes: moved.n_bytes,
            created_at: moved.created_at,
            frozen_at: moved.frozen_at,
            thawed_at: moved.thawed_at,
            finished_at: moved.finished_at,
        }
    }
}

/// Move a tenant to another cluster
///
/// Accepted as soon as it is written down. From the freeze to the end members can read and not change; until the switch the
/// move can be aborted.
#[utoipa::path(post, path = "/tenants/{id}/move", operation_id = "move_tenant", tag = "platform",
    params(("id" = String, Path, description = "The tenant")), request_body = MoveTenantBody,
    responses((status = 202, body = MoveBody, headers(("Location")))),
    extensions(("x-permission" = json!(OPERATOR)), ("x-problem-codes" = json!(codes(&[Code::TenantNotFound,
        Code::TenantStateConflict, Code::MoveUnderWay, Code::ClusterFull])))))]
pub async fn start(
    State(state): State<AppState>,
    Operator(caller): Operator,
    PathId(id): PathId<TenantId>,
    Json(wanted): Json<MoveTenantBody>,
) -> Result<Response, Problem> {
    let to = Cluster::from(wanted.cluster.as_str());
    let begun = moves::service::start(&caller.origin, state.db(), id, &to).await?;
    let location = format!("/api/v1/platform/tenants/{id}/moves/{}", begun.id);
    let location = [(header::LOCATION, location)];
    Ok((StatusCode::ACCEPTED, location, Json(MoveBody::from(begun))).into_response())
}

/// Show how a move stands
#[utoipa::path(get, path = "/tenants/{id}/moves/{move}", operation_id = "get_move", tag = "platform",
    params(("id" = String, Path, description = "The tenant"), ("move" = String, Path, description = "The move")),
    responses((status = 200, body = MoveBody)),
    extensions(("x-permission" = json!(OPERATOR)),
        ("x-problem-codes" = json!(codes(&[Code::TenantNotFound, Code::NotFound])))))]
pub async fn get(
    State(state): State<AppState>,
    _: Operator,
    PathIds(id, moved): PathIds<TenantId, MoveId>,
) -> Result<Json<MoveBody>, Problem> {
    Ok(Json(moves::service::get(state.db(), id, moved).await?.into()))
}

/// Call a move off
///
/// Possible until the switch. The tenant stays where it is.
#[utoipa::path(post, path = "/tenants/{id}/moves/{move}/abort", operation_id = "abort_move", tag = "platform",
    params(("id" = String, Path, description = "The tenant"), ("move" = String, Path, description = "The move")),
    responses((status = 202, body = MoveBody)),
    extensions(("x-permission" = json!(OPERATOR)),
        ("x-problem-codes" = json!(codes(&[Code::TenantNotFound, Code::NotFound, Code::MoveState])))))]
pub async fn abort(
    State(state): State<AppState>,
    Operator(caller): Operator,
    PathIds(id, moved): PathIds<TenantId, MoveId>,
) -> Result<(StatusCode, Json<MoveBody>), Problem> {
    let aborted = moves::service::abort(&caller.origin, state.db(), id, moved).await?;
    Ok((StatusCode::ACCEPTED, Json(aborted.into())))
}
