//! The access token of a request.

use std::sync::Arc;

use axum::http::{HeaderMap, header, request::Parts};
use bulkhead_iam::tokens::Claims;
use bulkhead_kernel::fault::Code;

use crate::{middleware::RequestRecord, problem::Problem, state::AppState};

/// Checks the token, each time, and notes who asks.
pub(super) fn claims(parts: &Parts, state: &AppState) -> Result<(Claims, Arc<RequestRecord>), Problem> {
    let record = RequestRecord::of(parts)?;
    let claims = state.iam().tokens.verify(token(&parts.headers)?)?;
    record.set_principal(claims.identity);
    Ok((claims, Arc::clone(record)))
}

/// The text after `Bearer`; two of them leave open which is meant.
fn token(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Problem::new(Code::Unauthenticated));
    };
    let (scheme, token) = value.to_str().unwrap_or_default().split_once(' ').unwrap_or_default();
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(token.trim())
    } else {
        Err(Problem::new(Code::Unauthenticated))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn sent(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        token(&headers).ok().map(ToOwned::to_owned)
    }

    #[test]
    fn only_one_bearer_token_is_a_token() {
        assert_eq!(sent(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(sent(&["bearer  abc "]).as_deref(), Some("abc"));
        for values in [
            &[][..],
            &[""],
            &["abc"],
            &["Basic abc"],
            &["Bearerabc"],
            &["Bearer a", "Bearer b"],
        ] {
            assert_eq!(sent(values), None, "{values:?}");
        }
    }
}
