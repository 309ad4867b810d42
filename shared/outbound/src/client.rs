//! One exchange.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bulkhead_kernel::config;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, Response,
    body::Incoming,
    client::conn::http1,
    header::{self, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName},
};
use url::Host;

use crate::{Dial, OutboundError, Policy, Resolve, Stream, Target, dial::TcpDial, resolve::SystemResolver};

/// What the head of an answer may take.
const MAX_HEAD_BYTES: usize = 16 * 1_024;

/// How many addresses of a name are tried.
const MAX_ADDRESSES: usize = 3;

/// What one of them may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What is asked of whom.
#[derive(Debug)]
pub struct Call<'a> {
    /// Whom.
    pub target: &'a Target,
    /// `Some` is a POST of this, `None` a GET.
    pub body: Option<Bytes>,
    /// Further headers; one that is none is left out.
    pub headers: &'a [(&'static str, String)],
    /// For all of it, until the last byte of the answer.
    pub timeout: Duration,
    /// The longest body of an answer.
    pub max_bytes: u64,
}

/// Makes calls; cheap to clone.
#[derive(Clone)]
pub struct Outbound {
    policy: Policy,
    resolver: Arc<dyn Resolve>,
    dialler: Arc<dyn Dial>,
    pub(crate) tls: TlsConnector,
}

impl Outbound {
    /// As the settings say, by the machine's own resolver and TCP.
    #[must_use]
    pub fn new(settings: &config::Outbound) -> Self {
        Self::with(Policy::new(settings), Arc::new(SystemResolver), Arc::new(TcpDial))
    }

    /// The same with other ways to resolve and to connect.
    #[must_use]
    pub fn with(policy: Policy, resolver: Arc<dyn Resolve>, dialler: Arc<dyn Dial>) -> Self {
        Self {
            policy,
            resolver,
            dialler,
            tls: TlsConnector::from(Arc::new(tls())),
        }
    }

    /// What may be called.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The head of the answer; its body is read from [`Answer`] under the same deadline.
    pub async fn send(&self, call: Call<'_>) -> Result<Answer, OutboundError> {
        let deadline = Instant::now() + call.timeout;
        timeout_at(deadline, self.exchange(call, deadline))
            .await
            .map_err(|_| OutboundError::TimedOut)?
    }

    async fn exchange(&self, call: Call<'_>, deadline: Instant) -> Result<Answer, OutboundError> {
        let stream = self.connect(call.target).await?;
        let stream = if call.target.is_tls() {
            self.protect(call.target, stream).await?
        } else {
            stream
        };
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_HEAD_BYTES);
        let (mut sender, connection) = builder
            .handshake(TokioIo::new(stream))
            .await
            .map_err(OutboundError::Protocol)?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // Whoever reads the answer is told the same.
            let _ = connection.await;
        });
        let max_bytes = call.max_bytes;
        let response = sender.send_request(request(call)).await;
        Ok(Answer {
            response: response.map_err(OutboundError::Protocol)?,
            deadline,
            n_left: max_bytes,
            _driver: driver,
        })
    }

    /// Dials what was judged, and nothing else.
    async fn connect(&self, target: &Target) -> Result<Box<dyn Stream>, OutboundError> {
        let mut failure = OutboundError::Forbidden;
        let addresses = self.addresses(target).await?;
        let permitted = addresses.into_iter().filter(|address| self.policy.permits(*address));
        for address in permitted.take(MAX_ADDRESSES) {
            let dialling = self.dialler.dial(SocketAddr::new(address, target.port));
            failure = match timeout(CONNECT_TIMEOUT, dialling).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => OutboundError::Unreachable(error),
                Err(_) => OutboundError::Unreachable(io::ErrorKind::TimedOut.into()),
            };
        }
        Err(failure)
    }

    async fn addresses(&self, target: &Target) -> Result<Vec<IpAddr>, OutboundError> {
        match &target.host {
            Host::Domain(name) => self.resolver.resolve(name).await.map_err(OutboundError::NoSuchName),
            Host::Ipv4(address) => Ok(vec![(*address).into()]),
            Host::Ipv6(address) => Ok(vec![(*address).into()]),
        }
    }

    async fn protect(&self, target: &Target, stream: Box<dyn Stream>) -> Result<Box<dyn Stream>, OutboundError> {
        let name = match &target.host {
            Host::Domain(name) => ServerName::try_from(name.trim_end_matches('.').to_owned()),
            Host::Ipv4(address) => Ok(ServerName::from(IpAddr::from(*address))),
            Host::Ipv6(address) => Ok(ServerName::from(IpAddr::from(*address))),
        };
        let name = name.map_err(|error| OutboundError::Tls(io::Error::other(error)))?;
        let stream = self.tls.connect(name, stream).await.map_err(OutboundError::Tls)?;
        Ok(Box::new(stream))
    }
}

/// The roots of Mozilla and no others: what this machine trusts besides is no stranger's business.
fn tls() -> ClientConfig {
    let roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.unwrap_or_else(|_| unreachable!("the provider has the suites of TLS 1.2 and 1.3"));
    versions.with_root_certificates(roots).with_no_client_auth()
}

fn request(call: Call<'_>) -> Request<Full<Bytes>> {
    let method = if call.body.is_some() { Method::POST } else { Method::GET };
    let mut request = Request::new(Full::new(call.body.unwrap_or_default()));
    *request.method_mut() = method;
    // What a URL has for a path is one of a request: it was encoded when it was read.
    *request.uri_mut() = call.target.path_and_query().parse().unwrap_or_default();
    let headers = request.headers_mut();
    if let Ok(host) = HeaderValue::from_str(call.target.authority()) {
        headers.insert(header::HOST, host);
    }
    headers.insert(header::USER_AGENT, HeaderValue::from_static("Bulkhead/1"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    for (name, value) in call.headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    request
}

/// An answer whose body is still to come. Dropped, the connection is closed.
#[derive(Debug)]
pub struct Answer {
    response: Response<Incoming>,
    deadline: Instant,
    n_left: u64,
    _driver: JoinSet<()>,
}

impl Answer {
    /// The status, 200 to 599 or whatever was sent.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// A header that is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let headers: &HeaderMap = self.response.headers();
        headers.get(name)?.to_str().ok()
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// [`OutboundError::TimedOut`] when the time of the call is over, [`OutboundError::TooLarge`] when more comes than was
    /// wanted.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, OutboundError> {
        let data = self.data().await?;
        let n_bytes = data.as_ref().map_or(0, |data| data.len() as u64);
        self.n_left = self.n_left.checked_sub(n_bytes).ok_or(OutboundError::TooLarge)?;
        Ok(data)
    }

    async fn data(&mut self) -> Result<Option<Bytes>, OutboundError> {
        loop {
            let frame = timeout_at(self.deadline, self.response.frame()).await;
            let Some(frame) = frame.map_err(|_| OutboundError::TimedOut)? else {
                return Ok(None);
            };
            if let Ok(data) = frame.map_err(OutboundError::Protocol)?.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// The first `n` bytes of the body, or fewer where it ends or breaks before. The rest is not waited for.
    pub async fn beginning(mut self, n: usize) -> Vec<u8> {
        let mut beginning = Vec::new();
        while beginning.len() < n
            && let Ok(Some(data)) = self.data().await
        {
            beginning.extend_from_slice(&data);
        }
        beginning.truncate(n);
        beginning
    }
}
