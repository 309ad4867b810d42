//! Keeps one request from harming the process: a panic becomes a problem, and there is a deadline for the whole of it.

use std::{any::Any, panic::AssertUnwindSafe};

use axum::{
    extract::{MatchedPath, Request, State},
    http::header,
    middleware::Next,
    response::{IntoResponse, Response},
};
use bulkhead_kernel::fault::Code;
use futures_util::FutureExt as _;

use crate::{problem::Problem, state::RequestLimits};

/// Routes that take what is too large and too slow for others, within limits of their own.
const OWN_LIMITS: [&str; 2] = ["/api/v1/tenants/import", "/api/v1/orgs/import"];

/// Runs the rest of the request under guard.
pub async fn guard(State(limits): State<RequestLimits>, request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>();
    if matched.is_some_and(|path| OWN_LIMITS.contains(&path.as_str())) {
        let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        return answer.unwrap_or_else(|panic| broken(panic.as_ref()));
    }
    if announced_len(&request).is_some_and(|len| len > limits.max_body_bytes) {
        return Problem::new(Code::BodyTooLarge).into_response();
    }
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(limits.request_timeout, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => broken(panic.as_ref()),
        Err(_) => Problem::with_detail(Code::RequestTimeout, "The request took too long.").into_response(),
    }
}

/// The length of the body as the caller announces it.
fn announced_len(request: &Request) -> Option<usize> {
    request
        .headers()
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

fn broken(panic: &(dyn Any + Send)) -> Response {
    Problem::internal(format!("panic: {}", message(panic))).into_response()
}

/// What the panic said.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("not a text")
}
