//! Reads a request body whole, within its size and its deadline.

use axum::extract::Request;
use axum::http::{HeaderMap, header};
use bulkhead_kernel::fault::Code;
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::{problem::Problem, state::RequestLimits};

/// The body, if it is small enough and arrives in time.
pub(super) async fn read(request: Request, limits: RequestLimits) -> Result<Bytes, Problem> {
    let body = Limited::new(request.into_body(), limits.max_body_bytes);
    let collected = tokio::time::timeout(limits.body_timeout, body.collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::new(Code::BodyTooLarge)),
        Ok(Err(_)) => Err(Problem::with_detail(Code::MalformedRequest, "The body broke off.")),
        Err(_) => Err(Problem::new(Code::RequestTimeout)),
    }
}

/// A media type without its parameters, in lower case; empty when none is sent.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// Whether the media type is JSON, as such or by its suffix (RFC 6839).
pub(super) fn is_json(media_type: &str) -> bool {
    let is_suffixed = media_type.starts_with("application/") && media_type.ends_with("+json");
    media_type == "application/json" || is_suffixed
}
