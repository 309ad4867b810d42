//! Refused changes, on their way out, for the audit log of the tenant they were tried in. What only reads passes by.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use bulkhead_iam::audit_log::service::{Refusal, record_refusal};
use bulkhead_kernel::fault::Code;
use uuid::Uuid;

use super::RequestRecord;
use crate::{problem::Problem, state::AppState};

/// How many refusals of one minute are remembered, so that a flood costs the database nothing.
const REMEMBERED: usize = 10_000;

/// What the layer needs.
#[derive(Clone)]
pub struct Refusals {
    state: AppState,
    known: Arc<Mutex<HashSet<Uuid>>>,
}

impl Refusals {
    /// For the requests that this state serves.
    #[must_use]
    pub fn of(state: AppState) -> Self {
        Self {
            state,
            known: Arc::default(),
        }
    }

    /// Whether it was not seen yet; what one process forgets the database still knows.
    fn is_new(&self, id: Uuid) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(id)
    }

    async fn note(&self, record: &RequestRecord, route: &str, code: Code) {
        let (Some(actor), Some(tenant)) = (record.principal(), record.tenant()) else {
            return;
        };
        let refusal = Refusal {
            actor,
            route,
            code: code.as_str(),
            at: self.state.clock().now(),
        };
        if !self.is_new(refusal.id()) {
            return;
        }
        let recorded = record_refusal(&record.origin(), self.state.db(), tenant, &refusal).await;
        if let Err(error) = recorded {
            tracing::warn!(error = &error as &dyn std::error::Error, "a refusal was not recorded");
        }
    }
}

/// Whether a refusal tells of a try to do what one may not. That a tenant is closed tells nothing of who asks.
fn matters(code: Code) -> bool {
    use bulkhead_kernel::fault::Kind;
    let is_state = matches!(
        code,
        Code::EmailUnverified | Code::TenantNotActive | Code::TenantReadOnly
    );
    code.kind() == Kind::Forbidden && !is_state
}

/// Records refused changes, in a transaction of their own once that of the request is over.
pub async fn note_refusals(State(refusals): State<Refusals>, request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    let record = request.extensions().get::<Arc<RequestRecord>>().cloned();
    let path = request.extensions().get::<MatchedPath>();
    let route = path.map(|path| format!("{} {}", request.method(), path.as_str()));
    let response = next.run(request).await;
    let code = response.extensions().get::<Problem>().map(Problem::code);
    if let (Some(record), Some(route), Some(code)) = (record, route, code.filter(|code| matters(*code))) {
        refusals.note(&record, &route, code).await;
    }
    response
}
