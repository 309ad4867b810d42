//! `Prefer: wait=N` (RFC 7240): how long a caller is ready to wait for work that goes on behind.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, request::Parts},
};

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The longest wait; a whole request may take a little longer (settings).
const LONGEST: Duration = Duration::from_secs(25);

/// How long to wait; `None` when the caller does not care to. A preference that cannot be read is no preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait(pub Option<Duration>);

impl<S: Sync> FromRequestParts<S> for Wait {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(wait(&parts.headers)))
    }
}

fn wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let preferences = values.flat_map(|value| value.split([',', ';']));
    // Of a preference that is sent twice the first counts (RFC 7240, section 2).
    let mut waits = preferences.filter_map(|preference| {
        let (name, value) = preference.split_once('=')?;
        let secs = name
            .trim()
            .eq_ignore_ascii_case("wait")
            .then(|| value.trim().trim_matches('"').parse().ok())?;
        secs.map(Duration::from_secs)
    });
    waits.next().map(|wait| wait.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_wait_is_found_among_other_preferences_and_bounded() {
        for (value, secs) in [
            ("wait=10", Some(10)),
            ("respond-async, wait=3", Some(3)),
            ("Wait = \"4\"; x=1", Some(4)),
            ("wait=0", Some(0)),
            ("wait=86400", Some(25)),
            ("wait=soon", None),
            ("wait", None),
            ("waiting=3", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(PREFER, HeaderValue::from_static(value))]);
            assert_eq!(wait(&headers), secs.map(Duration::from_secs), "{value}");
        }
    }
}
