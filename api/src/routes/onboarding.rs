//! `/tenants/{id}/onboarding`: how far a tenant is built, at a glance or as it happens.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use bulkhead_kernel::{
    fault::Code,
    ids::{IdentityId, TenantId},
};
use bulkhead_tenants::{Membership, StepState, StepStatus, TenantStatus, service};
use chrono::{DateTime, Utc};
use futures_util::stream;
use serde::Serialize;
use tokio::time::{Instant, sleep};
use utoipa::ToSchema;

use super::tenants::check_same_tenant;
use crate::{
    extract::{Json, PathId, SignedIn},
    openapi::{SIGNED_IN, codes},
    problem::Problem,
    state::AppState,
};

/// Between two looks at a tenant that somebody watches.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long one stream lasts at the most; a client comes back with `Last-Event-ID` and misses nothing.
const LONGEST_STREAM: Duration = Duration::from_mins(1);

/// How far a tenant is built.
#[derive(Serialize, ToSchema)]
pub struct Onboarding {
    /// The tenant's status.
    #[schema(example = "active")]
    status: &'static str,
    /// The steps in their order.
    steps: Vec<Step>,
}

/// One step of it.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"name": "schema", "state": "done", "failures": 0, "started_at": "2026-11-20T12:00:00Z",
    "finished_at": "2026-11-20T12:00:00.040Z"}))]
pub struct Step {
    name: String,
    /// `pending`, `running`, `done` or `failed`.
    state: &'static str,
    /// How often it failed so far.
    failures: i32,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

impl From<StepStatus> for Step {
    fn from(step: StepStatus) -> Self {
        Self {
            name: step.name,
            state: step.state.as_str(),
            failures: step.failures,
            started_at: step.started_at,
            finished_at: step.finished_at,
        }
    }
}

/// Watch a tenant being built
///
/// Asked for `text/event-stream` it answers with an event `step` for each step that is done, and ends with the event
/// `status` when the tenant is no longer pending. `Last-Event-ID` takes a stream up where another one ended.
#[utoipa::path(get, path = "/{id}/onboarding", operation_id = "get_onboarding", tag = "tenants",
    params(("id" = String, Path, description = "The tenant")),
    responses((status = 200, content((Onboarding = "application/json"), (String = "text/event-stream", example = json!("id: 1\nevent: step\ndata: {\"name\":\"role\",\"state\":\"done\"}\n\n"))))),
    extensions(("x-permission" = json!(SIGNED_IN)), ("x-problem-codes" = json!(codes(&[Code::TenantNotFound])))))]
pub async fn get(
    State(state): State<AppState>,
    signed_in: SignedIn,
    PathId(id): PathId<TenantId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let identity = signed_in.principal.identity;
    let (membership, steps) = service::onboarding(state.db(), identity, id).await?;
    check_same_tenant(&signed_in, &membership.tenant)?;
    if text(&headers, header::ACCEPT.as_str()).contains("text/event-stream") {
        let n_told = text(&headers, "last-event-id").parse().unwrap_or(0);
        let watch = Watch::new(state, identity, id, n_told);
        let events = stream::unfold(watch, Watch::next);
        return Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response());
    }
    let onboarding = Onboarding {
        status: membership.tenant.status.as_str(),
        steps: steps.into_iter().map(Step::from).collect(),
    };
    Ok(Json(onboarding).into_response())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

/// Somebody's stream of events about a tenant.
struct Watch {
    state: AppState,
    identity: IdentityId,
    tenant: TenantId,
    /// Steps told already; the number of a step is the id of its event.
    n_told: usize,
    untold: VecDeque<Event>,
    until: Instant,
    is_over: bool,
}

impl Watch {
    fn new(state: AppState, identity: IdentityId, tenant: TenantId, n_told: usize) -> Self {
        Self {
            state,
            identity,
            tenant,
            n_told,
            untold: VecDeque::new(),
            until: Instant::now() + LONGEST_STREAM,
            is_over: false,
        }
    }

    /// The next event, as soon as there is one. A failure ends the stream; the client asks again and is told why.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(event) = self.untold.pop_front() {
                return Some((Ok(event), self));
            }
            if self.is_over || Instant::now() > self.until || self.state.readiness().is_draining() {
                return None;
            }
            let (membership, steps) = service::onboarding(self.state.db(), self.identity, self.tenant)
                .await
                .ok()?;
            self.note(&membership, steps);
            if self.untold.is_empty() {
                sleep(LOOK_EVERY).await;
            }
        }
    }

    fn note(&mut self, membership: &Membership, steps: Vec<StepStatus>) {
        let done = steps.into_iter().take_while(|step| step.state == StepState::Done);
        for step in done.skip(self.n_told) {
            self.n_told += 1;
            let event = Event::default().id(self.n_told.to_string()).event("step");
            self.untold.extend(event.json_data(Step::from(step)));
        }
        let status = membership.tenant.status;
        if status != TenantStatus::Pending {
            self.untold
                .push_back(Event::default().event("status").data(status.as_str()));
            self.is_over = true;
        }
    }
}
