//! The header `Idempotency-Key` of a request that creates something.

use std::convert::Infallible;

use axum::{extract::FromRequestParts, http::request::Parts};

/// The caller's key as sent. Bytes that are no text become characters that no key may have, so the service refuses them.
#[derive(Debug)]
pub struct IdempotencyHeader(pub Option<String>);

impl<S: Sync> FromRequestParts<S> for IdempotencyHeader {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let value = parts.headers.get("idempotency-key");
        Ok(Self(
            value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
        ))
    }
}
