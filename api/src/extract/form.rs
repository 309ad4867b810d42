//! A body that OAuth 2.0 clients send as a form and everybody else as JSON.

use axum::extract::{FromRef, FromRequest, Request};
use bulkhead_kernel::fault::Code;
use serde::de::DeserializeOwned;

use super::{body, decode};
use crate::{problem::Problem, state::RequestLimits};

/// The same DTO from `application/x-www-form-urlencoded` or from JSON.
#[derive(Debug)]
pub struct JsonOrForm<T>(pub T);

impl<T, S> FromRequest<S> for JsonOrForm<T>
where
    T: DeserializeOwned,
    S: Sync,
    RequestLimits: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let media_type = body::media_type(request.headers());
        let is_form = media_type == "application/x-www-form-urlencoded";
        if !is_form && !body::is_json(&media_type) {
            return Err(Problem::new(Code::UnsupportedMediaType));
        }
        let bytes = body::read(request, RequestLimits::from_ref(state)).await?;
        let decoded = if is_form {
            decode::form(&bytes, "/")
        } else {
            decode::json(&bytes)
        };
        decoded.map(Self)
    }
}
