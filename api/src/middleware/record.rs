//! What becomes known of a request on its way in, for its log line and for the origin of the work it causes.

use std::{
    fmt::Display,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use axum::http::{HeaderMap, header, request::Parts};
use bulkhead_kernel::{
    ids::{SupportAccessId, TenantId},
    origin::Origin,
    telemetry::trace,
};
use bulkhead_tenancy::DbMeter;

use super::RequestId;
use crate::problem::Problem;

/// How much of what a client calls itself is kept.
const AGENT_CHARS: usize = 200;

/// One per request, shared by the observer and the extractors.
#[derive(Debug)]
pub struct RequestRecord {
    id: RequestId,
    address: Option<IpAddr>,
    agent: Option<String>,
    principal: OnceLock<String>,
    /// What the principal acts through, where they are not a member.
    support: OnceLock<String>,
    tenant: OnceLock<TenantId>,
    db: DbMeter,
}

impl RequestRecord {
    /// Starts the record of a request that comes from this address.
    #[must_use]
    pub fn begin(headers: &HeaderMap, address: Option<IpAddr>) -> Arc<Self> {
        Arc::new(Self {
            id: RequestId::of(headers),
            address,
            agent: agent(headers),
            principal: OnceLock::new(),
            support: OnceLock::new(),
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

    /// Notes that whoever asks is an operator inside a tenant; from here on the access is who asks.
    pub fn set_support(&self, access: SupportAccessId) {
        let _ = self.support.set(access.to_string());
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
        self.support.get().or(self.principal.get()).map(String::as_str)
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
            address: self.address.map(|address| address.to_string()),
            agent: self.agent.clone(),
        }
    }
}

/// What the client calls itself, as far as it can be printed.
fn agent(headers: &HeaderMap) -> Option<String> {
    let text = String::from_utf8_lossy(headers.get(header::USER_AGENT)?.as_bytes());
    let agent: String = text.chars().filter(|c| !c.is_control()).take(AGENT_CHARS).collect();
    Some(agent).filter(|agent| !agent.is_empty())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn told(agent: &[u8], address: Option<IpAddr>) -> Origin {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_bytes(agent).unwrap());
        RequestRecord::begin(&headers, address).origin()
    }

    #[test]
    fn the_origin_tells_address_and_agent_within_bounds() {
        let origin = told(b"curl/8.0", Some(IpAddr::from([192, 0, 2, 7])));
        assert_eq!(origin.address.as_deref(), Some("192.0.2.7"));
        assert_eq!(origin.agent.as_deref(), Some("curl/8.0"));
        let long = told("ä\t".repeat(500).as_bytes(), None);
        assert_eq!(long.agent.unwrap(), "ä".repeat(200));
        assert_eq!((told(b"", None).agent, long.address), (None, None));
    }
}
