//! Where a piece of work came from; carried from the request into every job and every record it causes.

use serde::{Deserialize, Serialize};

/// Who asked, and under which request and trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The principal: the id of an identity or of an API key, or `system`.
    pub principal: String,
    /// The id of the request, as answered in `X-Request-ID`.
    pub request_id: String,
    /// The W3C trace context of the request, where it is traced.
    pub traceparent: Option<String>,
    /// The client's network address, for a request.
    #[serde(default)]
    pub address: Option<String>,
    /// What the client calls itself, for a request; at most 200 characters, none of them a control character.
    #[serde(default)]
    pub agent: Option<String>,
}

impl Origin {
    /// Work that no request asked for.
    #[must_use]
    pub fn system(request_id: impl Into<String>) -> Self {
        Self {
            principal: "system".into(),
            request_id: request_id.into(),
            traceparent: None,
            address: None,
            agent: None,
        }
    }
}
