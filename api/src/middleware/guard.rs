//! Keeps one request from harming the process: a panic becomes a problem, and there is a deadline for the whole of it.

use std::{any::Any, panic::AssertUnwindSafe};

use axum::{
    extract::{Request, State},
    http::header,
    middleware::Next,
    response::{IntoResponse, Response},
};
use bulkhead_kernel::fault::Code;
use futures_util::FutureExt as _;

use crate::{problem::Problem, state::RequestLimits};

/// Runs the rest of the request under guard.
pub async fn guard(State(limits): State<RequestLimits>, request: Request, next: Next) -> Response {
    if announced_len(&request).is_some_and(|len| len > limits.max_body_bytes) {
        return Problem::new(Code::BodyTooLarge).into_response();
    }
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(limits.request_timeout, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => Problem::internal(format!("panic: {}", message(panic.as_ref()))).into_response(),
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

/// What the panic said.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("not a text")
}
