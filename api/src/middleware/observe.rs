//! The outermost layer: gives the request its id, its span and its one log line, counts it, and finishes its answer.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::{ConnectInfo, MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::Response,
};
use bulkhead_kernel::{
    config,
    fault::Code,
    telemetry::{fields, metrics, trace},
};
use tracing::{Instrument as _, Span};

use super::{RequestRecord, headers, request_id::X_REQUEST_ID};
use crate::problem::Problem;

/// What is counted for a path that no route has; the raw path would be an unbounded label.
const UNMATCHED: &str = "unmatched";

/// The status in log and metrics when the caller hung up before the answer; never sent.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// What the observer has to know of the settings.
#[derive(Debug, Clone)]
pub struct Observer {
    public_url: Arc<str>,
    is_trace_trusted: bool,
}

impl Observer {
    /// The configured observer.
    #[must_use]
    pub fn of(settings: &config::Server) -> Self {
        Self {
            public_url: settings.public_url.as_str().into(),
            is_trace_trusted: settings.trust_traceparent,
        }
    }

    /// The trace of a trusted caller goes on here; a stranger's is only pointed at.
    fn join_trace(&self, span: &Span, headers: &HeaderMap) {
        let Some(traceparent) = headers.get("traceparent").and_then(|value| value.to_str().ok()) else {
            return;
        };
        if self.is_trace_trusted {
            trace::set_parent(span, traceparent);
        } else {
            trace::link(span, traceparent);
        }
    }
}

/// Observes the request from its first byte to its answer.
pub async fn observe(State(observer): State<Observer>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let address = peer.map(|ConnectInfo(peer)| peer.ip());
    let record = RequestRecord::begin(request.headers(), address);
    let mut watch = Watch::start(&request, Arc::clone(&record));
    observer.join_trace(&watch.span, request.headers());
    request.extensions_mut().insert(Arc::clone(&record));

    let answering = next.run(request).instrument(watch.span.clone());
    let mut response = record.db().measure(answering).await;

    let problem = response.extensions_mut().remove::<Problem>();
    if let Some(problem) = &problem {
        write_problem(&mut response, problem, &observer.public_url, &record);
    }
    response.headers_mut().insert(X_REQUEST_ID, record.id().to_header());
    headers::secure(response.headers_mut());
    watch.finish(response.status(), problem.as_ref());
    response
}

/// Puts the body of the problem into its so far empty answer.
fn write_problem(response: &mut Response, problem: &Problem, public_url: &str, record: &RequestRecord) {
    let body = problem.body(public_url, record.id().as_str());
    let json = serde_json::to_vec(&body).unwrap_or_default();
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(json.len()));
    *response.body_mut() = Body::from(json);
}

/// Times one request. Dropped unfinished, it says that the caller hung up.
struct Watch {
    method: String,
    route: String,
    record: Arc<RequestRecord>,
    span: Span,
    started: Instant,
    is_finished: bool,
}

impl Watch {
    fn start(request: &Request, record: Arc<RequestRecord>) -> Self {
        let matched = request.extensions().get::<MatchedPath>();
        let route = matched.map_or(UNMATCHED, MatchedPath::as_str).to_owned();
        let span = tracing::info_span!("http", { fields::REQUEST_ID } = %record.id(), { fields::HTTP_ROUTE } = route);
        metrics::http_active_requests().increment(1);
        Self {
            method: request.method().as_str().to_owned(),
            route,
            record,
            span,
            started: Instant::now(),
            is_finished: false,
        }
    }

    fn finish(&mut self, status: StatusCode, problem: Option<&Problem>) {
        self.is_finished = true;
        self.report(
            status.as_u16(),
            problem.map(Problem::code),
            problem.and_then(Problem::cause),
        );
    }

    /// The line of the request stands outside of its span, whose fields it repeats.
    fn report(&self, status: u16, code: Option<Code>, cause: Option<&str>) {
        let took = self.started.elapsed();
        metrics::http_active_requests().decrement(1);
        metrics::http_request_duration(self.route.clone(), &self.method, status).record(took);
        let code = code.map(Code::as_str);
        if let Some(cause) = cause {
            let _entered = self.span.enter();
            tracing::error!({ fields::CODE } = code, { fields::ERROR } = cause, "http.failure");
        }
        tracing::info!(
            { fields::HTTP_METHOD } = self.method,
            { fields::HTTP_ROUTE } = self.route,
            { fields::HTTP_STATUS } = status,
            { fields::DURATION_MS } = millis(took),
            { fields::TENANT_ID } = self.record.tenant().map(tracing::field::display),
            { fields::PRINCIPAL_ID } = self.record.principal().map(tracing::field::display),
            { fields::REQUEST_ID } = %self.record.id(),
            { fields::OUTCOME } = outcome(status),
            { fields::CODE } = code,
            { fields::DB_QUERIES } = self.record.db().queries(),
            { fields::DB_MS } = self.record.db().held_ms(),
            "http.request"
        );
    }
}

/// Milliseconds, to the microsecond.
fn millis(took: Duration) -> f64 {
    f64::from(u32::try_from(took.as_micros()).unwrap_or(u32::MAX)) / 1000.0
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.is_finished {
            self.report(CLIENT_CLOSED_REQUEST, None, None);
        }
    }
}

/// Whose doing the status is.
fn outcome(status: u16) -> &'static str {
    match status {
        CLIENT_CLOSED_REQUEST => "cancelled",
        500.. => "failed",
        400.. => "refused",
        _ => "done",
    }
}
