//! A URL that may be called, and what decides that.

use std::net::IpAddr;

use bulkhead_kernel::config;
use url::{Host, Url};

use crate::is_public;

/// The longest URL, in bytes.
const MAX_BYTES: usize = 2_048;

/// What may be called.
#[derive(Debug, Clone)]
pub struct Policy {
    ports: Vec<u16>,
    is_loopback_allowed: bool,
}

impl Policy {
    /// As the settings say: ports 80 and 443 of the public internet, and what is added for development.
    #[must_use]
    pub fn new(settings: &config::Outbound) -> Self {
        Self {
            ports: [&[80, 443], settings.extra_ports.as_slice()].concat(),
            is_loopback_allowed: settings.is_loopback_allowed,
        }
    }

    /// Whether this address may be dialled.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        is_public(address) || (self.is_loopback_allowed && address.is_loopback())
    }

    /// On this very machine ports are given out, so all of them are allowed with it.
    fn permits_port(&self, port: u16) -> bool {
        self.ports.contains(&port) || (self.is_loopback_allowed && port > 0)
    }

    /// Names without a dot are completed by the resolver with a domain of ours.
    fn permits_name(&self, name: &str) -> bool {
        let bare = name.strip_suffix('.').unwrap_or(name);
        let is_local = bare == "localhost" || bare.ends_with(".localhost");
        if is_local {
            self.is_loopback_allowed
        } else {
            bare.contains('.')
        }
    }
}

/// Why a URL may not be called; the text completes "the URL …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No absolute URL, or one with spaces, backslashes or a fragment, or too long.
    #[error("must be an absolute URL of up to 2048 bytes without spaces, backslashes and fragment")]
    Malformed,
    /// Neither http nor https.
    #[error("must begin with https:// or http://")]
    Scheme,
    /// A user or a password.
    #[error("must not carry a user or a password")]
    Credentials,
    /// A port that is not allowed.
    #[error("must use port 443 or 80")]
    Port,
    /// A host outside of the public internet.
    #[error("must name a host on the public internet")]
    Host,
}

/// A URL that may be called as far as it tells itself; what its name resolves to is judged when it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    url: Url,
    pub(crate) host: Host<String>,
    pub(crate) port: u16,
}

impl Target {
    /// Reads a URL as browsers do, so that no other way to write an address gets past.
    pub fn parse(text: &str, policy: &Policy) -> Result<Self, Refusal> {
        let is_odd = |c: char| c.is_whitespace() || c.is_control() || c == '\\';
        if text.len() > MAX_BYTES || text.contains(is_odd) {
            return Err(Refusal::Malformed);
        }
        let url = Url::parse(text).map_err(|_| Refusal::Malformed)?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(Refusal::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::Credentials);
        }
        if url.fragment().is_some() {
            return Err(Refusal::Malformed);
        }
        let host = url.host().ok_or(Refusal::Malformed)?.to_owned();
        let is_permitted = match &host {
            Host::Domain(name) => policy.permits_name(name),
            Host::Ipv4(address) => policy.permits((*address).into()),
            Host::Ipv6(address) => policy.permits((*address).into()),
        };
        if !is_permitted {
            return Err(Refusal::Host);
        }
        let port = url.port_or_known_default().ok_or(Refusal::Malformed)?;
        if !policy.permits_port(port) {
            return Err(Refusal::Port);
        }
        Ok(Self { url, host, port })
    }

    /// The URL as it is called.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// Whether the exchange is protected.
    pub(crate) fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// What the request's first line asks for.
    pub(crate) fn path_and_query(&self) -> &str {
        &self.url[url::Position::BeforePath..url::Position::AfterQuery]
    }

    /// The value of the header `Host`.
    pub(crate) fn authority(&self) -> &str {
        &self.url[url::Position::BeforeHost..url::Position::AfterPort]
    }
}
