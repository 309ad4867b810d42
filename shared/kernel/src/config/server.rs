//! `[server]`: the public API.

use std::{net::SocketAddr, time::Duration};

use url::Url;

use super::reader::SectionReader;

/// How the API listens and how much patience it has.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where the public API listens.
    pub listen: SocketAddr,
    /// Where probes and metrics are answered.
    pub internal_listen: SocketAddr,
    /// The API as clients see it, without a slash at its end.
    pub public_url: String,
    /// The most connections open at a time.
    pub max_connections: usize,
    /// For the head of a request.
    pub header_timeout: Duration,
    /// For the body of a request.
    pub body_timeout: Duration,
    /// For a caller to take some more of an answer.
    pub write_timeout: Duration,
    /// For a request in all.
    pub request_timeout: Duration,
    /// The largest body taken.
    pub max_body_bytes: usize,
    /// For requests under way when the process is told to stop.
    pub shutdown_grace: Duration,
    /// Origins (scheme, host, port) whose pages may call the API.
    pub cors_allowed_origins: Vec<String>,
    /// Whether a caller's `traceparent` is continued.
    pub trust_traceparent: bool,
}

impl Server {
    pub(super) fn read(section: &mut SectionReader<'_, '_>) -> Self {
        Self {
            listen: section.address("listen"),
            internal_listen: section.address("internal_listen"),
            public_url: public_url(section),
            max_connections: section.number("max_connections", 1..=1_000_000),
            header_timeout: section.secs("header_timeout_secs", 1..=600),
            body_timeout: section.secs("body_timeout_secs", 1..=3600),
            write_timeout: section.secs("write_timeout_secs", 1..=3600),
            request_timeout: section.secs("request_timeout_secs", 1..=3600),
            max_body_bytes: section.number("max_body_bytes", 1024..=1_073_741_824),
            shutdown_grace: section.secs("shutdown_grace_secs", 1..=3600),
            cors_allowed_origins: origins(section),
            trust_traceparent: section.flag("trust_traceparent"),
        }
    }
}

fn public_url(section: &mut SectionReader<'_, '_>) -> String {
    let url = section.base_url("public_url", &["http", "https"]);
    if url.is_empty() {
        section.refuse("public_url", "must not be empty");
    }
    url
}

fn origins(section: &mut SectionReader<'_, '_>) -> Vec<String> {
    let origins = section.list("cors_allowed_origins");
    if !origins.iter().all(|origin| is_origin(origin)) {
        section.refuse(
            "cors_allowed_origins",
            "must be origins as browsers send them, such as https://app.example.com, separated by commas",
        );
    }
    origins
}

/// Browsers send an origin in exactly one spelling; any other would never match.
fn is_origin(text: &str) -> bool {
    Url::parse(text)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text)
}
