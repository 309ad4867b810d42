//! What becomes known of a request on its way in, for its log line and for the origin of the work it causes.

use std::{
    fmt::Display,
    sync::{Arc, OnceLock},
};

use axum::http::{HeaderMap, request::Parts};
use bulkhead_kernel::{ids::TenantId, origin::Origin, telemetry::trace};
use bulkhead_tenancy::DbMeter;

use super::RequestId;
use crate::problem::Problem;

/// One per request, shared by the observer and the extractors.
#[derive(Debug)]
pub struct RequestRecord {
    id: RequestId,
    principal: OnceLock<String>,
    tenant: OnceLock<TenantId>,
    db: DbMeter,
}

impl RequestRecord {
    /// Starts the record.
    #[must_use]
    pub fn begin(headers: &HeaderMap) -> Arc<Self> {
        Arc::new(Self {
            id: RequestId::of(headers),
            principal: OnceLock::new(),
            tenant: OnceLock::new(),
            db: DbMeter::default(),
        })
    }

    /// The record of the request these parts belong to.
    pub fn of(parts: &Parts) -> Result<&Arc<Self>, Problem> {
        let record = parts.extensions.get::<Arc<Self>>();
        record.ok_or_else(|| Problem::internal("the request passed no observer"))
    }

    /// The id of the request.
    #[must_use]
    pub fn id(&self) -> &RequestId {
        &self.id
    }

    /// Notes who asks: the id of a person or of an API key.
    pub fn set_principal(&self, principal: impl Display) {
        let _ = self.principal.set(principal.to_string());
    }

    /// Notes which tenant is meant.
    pub fn set_tenant(&self, tenant: TenantId) {
        let _ = self.tenant.set(tenant);
    }

    /// What the request asks of the database.
    #[must_use]
    pub const fn db(&self) -> &DbMeter {
        &self.db
    }

    /// Who asked, once that is known.
    #[must_use]
    pub fn principal(&self) -> Option<&str> {
        self.principal.get().map(String::as_str)
    }

    /// Which tenant was meant, once that is known.
    #[must_use]
    pub fn tenant(&self) -> Option<TenantId> {
        self.tenant.get().copied()
    }

    /// Where the work this request causes comes from; `anonymous` while nobody has signed in.
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin {
            principal: self.principal().unwrap_or("anonymous").to_owned(),
            request_id: self.id.as_str().to_owned(),
            traceparent: trace::current_traceparent(),
            address: None,
            agent: None,
        }
    }
}
