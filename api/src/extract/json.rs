//! JSON bodies, in and out.

use axum::{
    extract::{FromRef, FromRequest, Request},
    response::{IntoResponse, Response},
};
use bulkhead_kernel::fault::Code;
use serde::{Serialize, de::DeserializeOwned};

use super::{body, decode};
use crate::{problem::Problem, state::RequestLimits};

/// A JSON body: 415 for another media type, 400 for what is no JSON, 422 with JSON pointers for the wrong shape.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T, S> FromRequest<S> for Json<T>
where
    T: DeserializeOwned,
    S: Sync,
    RequestLimits: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !body::is_json(&body::media_type(request.headers())) {
            return Err(Problem::new(Code::UnsupportedMediaType));
        }
        let bytes = body::read(request, RequestLimits::from_ref(state)).await?;
        decode::json(&bytes).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// A JSON body that may be left out, where every field has a default.
#[derive(Debug)]
pub struct OptionalJson<T>(pub T);

impl<T, S> FromRequest<S> for OptionalJson<T>
where
    T: DeserializeOwned + Default,
    S: Sync,
    RequestLimits: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = body::is_json(&body::media_type(request.headers()));
        let bytes = body::read(request, RequestLimits::from_ref(state)).await?;
        match (bytes.is_empty(), is_json) {
            (true, _) => Ok(Self(T::default())),
            (false, true) => decode::json(&bytes).map(Self),
            (false, false) => Err(Problem::new(Code::UnsupportedMediaType)),
        }
    }
}
