//! `/platform/clusters`: where tenants live, and how much room is left there.

use axum::extract::State;
use bulkhead_tenants::capacity::{ClusterUse, Level, service};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    extract::{Json, Operator},
    openapi::OPERATOR,
    problem::Problem,
    state::AppState,
};

/// How far a cap is used up.
#[derive(Serialize, ToSchema)]
pub struct CapBody {
    /// `tenants`, `relations`, `size_mb` or `connections`.
    cap: &'static str,
    /// What the settings allow; missing where they set no cap.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<i64>,
    /// What there is.
    used: i64,
    /// What part of the limit that is; from 0.8 on the cluster takes no new tenants.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
}

impl From<Level> for CapBody {
    fn from(level: Level) -> Self {
        Self {
            cap: level.cap.as_str(),
            limit: level.limit,
            used: level.used,
            ratio: level.ratio(),
        }
    }
}

/// A cluster of the settings.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"name": "home", "takes_tenants": true, "measured_at": "2026-11-21T12:00:00Z",
    "caps": [{"cap": "tenants", "limit": 2500, "used": 1250, "ratio": 0.5}, {"cap": "size_mb", "used": 20480}]}))]
pub struct ClusterBody {
    name: String,
    /// Whether new tenants, and tenants on the move, are let in.
    takes_tenants: bool,
    /// When it was last measured; missing before the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    measured_at: Option<DateTime<Utc>>,
    caps: Vec<CapBody>,
}

impl From<ClusterUse> for ClusterBody {
    fn from(known: ClusterUse) -> Self {
        Self {
            takes_tenants: known.full().is_none(),
            name: known.cluster.to_string(),
            measured_at: known.measured_at,
            caps: known.levels.map(CapBody::from).into(),
        }
    }
}

/// List the clusters, and how much of each is used
///
/// As a worker last measured it, at most a minute or so ago.
#[utoipa::path(get, path = "/clusters", operation_id = "list_clusters", tag = "platform",
    responses((status = 200, body = Vec<ClusterBody>)), extensions(("x-permission" = json!(OPERATOR))))]
pub async fn list(State(state): State<AppState>, _: Operator) -> Result<Json<Vec<ClusterBody>>, Problem> {
    let known = service::list(state.db()).await?;
    Ok(Json(known.into_iter().map(ClusterBody::from).collect()))
}
