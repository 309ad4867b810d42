//! Where a request comes from, when nobody has to be signed in.

use axum::{extract::FromRequestParts, http::request::Parts};
use bulkhead_kernel::origin::Origin;

use crate::{middleware::RequestRecord, problem::Problem};

/// The origin of the work that an anonymous request causes.
#[derive(Debug)]
pub struct Requested(pub Origin);

impl<S: Sync> FromRequestParts<S> for Requested {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Ok(Self(RequestRecord::of(parts)?.origin()))
    }
}
