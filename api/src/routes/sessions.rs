//! `/auth/sessions`: where the caller is signed in.

use axum::{extract::State, http::StatusCode};
use bulkhead_iam::sessions::{Device, devices};
use bulkhead_kernel::{fault::Code, ids::SessionId};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::page::PageBody;
use crate::{
    extract::{Json, PageQuery, Paging, PathId, SignedIn},
    openapi::{SIGNED_IN, codes},
    problem::Problem,
    state::AppState,
};

/// One sign-in on one device.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"id": "ses_0190a1b2c3d4e5f60718293a4b5c6d7e", "device": "Firefox on Linux",
    "created_at": "2026-11-21T09:00:00Z", "last_used_at": "2026-11-21T10:30:00Z",
    "expires_at": "2027-02-19T09:00:00Z", "is_current": true}))]
pub struct SessionBody {
    id: String,
    /// What the device called itself.
    device: String,
    created_at: DateTime<Utc>,
    /// When it last signed in or carried on, to the lifetime of an access token.
    last_used_at: DateTime<Utc>,
    /// When it ends in any case.
    expires_at: DateTime<Utc>,
    /// Whether this very call came from it.
    is_current: bool,
}

impl From<Device> for SessionBody {
    fn from(device: Device) -> Self {
        Self {
            id: device.session.to_string(),
            device: device.name,
            created_at: device.signed_in_at,
            last_used_at: device.last_used_at,
            expires_at: device.expires_at,
            is_current: device.is_current,
        }
    }
}

/// List the caller's sessions
///
/// Those that are open, the one used last first.
#[utoipa::path(get, path = "/auth/sessions", operation_id = "list_sessions", tag = "auth", params(PageQuery),
    responses((status = 200, body = PageBody<SessionBody>)), extensions(("x-permission" = json!(SIGNED_IN))))]
pub async fn list(
    State(state): State<AppState>,
    caller: SignedIn,
    Paging(page): Paging,
) -> Result<Json<PageBody<SessionBody>>, Problem> {
    let devices = devices::list(state.iam(), &caller.principal, page).await?;
    Ok(Json(PageBody::of(devices, SessionBody::from)))
}

/// End one of the caller's sessions
#[utoipa::path(delete, path = "/auth/sessions/{id}", operation_id = "end_session", tag = "auth",
    params(("id" = String, Path, description = "The session")), responses((status = 204)),
    extensions(("x-permission" = json!(SIGNED_IN)), ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn end(
    State(state): State<AppState>,
    caller: SignedIn,
    PathId(id): PathId<SessionId>,
) -> Result<StatusCode, Problem> {
    devices::end(state.iam(), &caller.principal, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
