//! The credential of a request: an access token or an API key, and only one of them.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, header, request::Parts};
use bulkhead_iam::{
    api_keys::{self, KeyText, Refusal},
    tokens::Claims,
};
use bulkhead_kernel::fault::Code;

use crate::{middleware::RequestRecord, problem::Problem, state::AppState};

pub(super) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What a caller shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Credential<'a> {
    /// What should be an access token.
    Token(&'a str),
    /// What should be an API key.
    Key(&'a str),
}

/// Checks the token, each time, and notes who asks. Keys are refused: the call is for people.
pub(super) fn claims(parts: &Parts, state: &AppState) -> Result<(Claims, Arc<RequestRecord>), Problem> {
    let record = RequestRecord::of(parts)?;
    match credential(&parts.headers)? {
        Credential::Token(token) => Ok((verified(token, state, record)?, Arc::clone(record))),
        Credential::Key(text) => {
            parsed(text, state, record)?;
            Err(Problem::new(Code::ApiKeyNotAllowed))
        }
    }
}

/// Checks the token, and notes who asks.
pub(super) fn verified(token: &str, state: &AppState, record: &RequestRecord) -> Result<Claims, Problem> {
    let claims = state.iam().tokens.verify(token)?;
    record.set_principal(claims.identity);
    Ok(claims)
}

/// Reads the text of a key; asks nobody.
pub(super) fn parsed(text: &str, state: &AppState, record: &RequestRecord) -> Result<KeyText, Problem> {
    let iam = state.iam();
    KeyText::parse(text, &iam.settings.key_environment).map_err(|refusal: Refusal| {
        api_keys::note_refusal(iam, None, refusal, &record.origin());
        Problem::new(Code::ApiKeyInvalid)
    })
}

/// The text after `Bearer`, or that of `X-API-Key`. Two of them leave open which is meant.
pub(super) fn credential(headers: &HeaderMap) -> Result<Credential<'_>, Problem> {
    let authorization = headers.get_all(header::AUTHORIZATION).iter();
    let keys = headers.get_all(X_API_KEY).iter();
    let mut values = authorization
        .map(|value| (value, false))
        .chain(keys.map(|value| (value, true)));
    let Some((value, is_key)) = values.next() else {
        return Err(Problem::new(Code::Unauthenticated));
    };
    if values.next().is_some() {
        let detail = "Send one access token or one API key, not several.";
        return Err(Problem::with_detail(Code::Unauthenticated, detail));
    }
    let value = value.to_str().unwrap_or_default();
    if is_key {
        return Ok(Credential::Key(value.trim()));
    }
    let (scheme, token) = value.split_once(' ').unwrap_or_default();
    match token.trim() {
        _ if !scheme.eq_ignore_ascii_case("bearer") => Err(Problem::new(Code::Unauthenticated)),
        key if key.starts_with(api_keys::PREFIX) => Ok(Credential::Key(key)),
        token => Ok(Credential::Token(token)),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn sent(values: &[(&HeaderName, &str)]) -> Option<Credential<'static>> {
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let leaked: &'static HeaderMap = Box::leak(Box::new(headers));
        credential(leaked).ok()
    }

    fn bearer(values: &[&str]) -> Option<Credential<'static>> {
        let values: Vec<_> = values.iter().map(|value| (&header::AUTHORIZATION, *value)).collect();
        sent(&values)
    }

    #[test]
    fn only_one_bearer_token_is_a_token() {
        assert_eq!(bearer(&["Bearer abc"]), Some(Credential::Token("abc")));
        assert_eq!(bearer(&["bearer  abc "]), Some(Credential::Token("abc")));
        for values in [
            &[][..],
            &[""],
            &["abc"],
            &["Basic abc"],
            &["Bearerabc"],
            &["Bearer a", "Bearer b"],
        ] {
            assert_eq!(bearer(values), None, "{values:?}");
        }
    }

    #[test]
    fn a_key_comes_in_either_header_and_alone() {
        let key = Some(Credential::Key("bh_live_x"));
        assert_eq!(bearer(&["Bearer bh_live_x"]), key);
        assert_eq!(sent(&[(&X_API_KEY, " bh_live_x")]), key);
        // What is sent as a key is never taken for a token.
        assert_eq!(sent(&[(&X_API_KEY, "abc")]), Some(Credential::Key("abc")));
        let both = [(&header::AUTHORIZATION, "Bearer abc"), (&X_API_KEY, "bh_live_x")];
        let same = [(&header::AUTHORIZATION, "Bearer bh_live_x"), (&X_API_KEY, "bh_live_x")];
        let twice = [(&X_API_KEY, "bh_live_x"), (&X_API_KEY, "bh_live_x")];
        for several in [both, same, twice] {
            assert_eq!(sent(&several), None, "{several:?}");
        }
    }
}
