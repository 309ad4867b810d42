//! The header `If-Match` of a request that changes something.

use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};

/// The versions that the caller has seen and would change; `None` for whatever is there (no header, or `*`). A tag that is
/// none of ours, or a weak one, is a version that nothing has (RFC 9110, 13.1.1).
#[derive(Debug, PartialEq, Eq)]
pub struct IfMatch(pub Option<Vec<i64>>);

/// The tag of a version.
pub(crate) fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let values = parts.headers.get_all(header::IF_MATCH).iter();
        let tags: Vec<&str> = values
            .flat_map(|value| value.to_str().unwrap_or_default().split(','))
            .map(str::trim)
            .collect();
        if tags.is_empty() || tags.contains(&"*") {
            return Ok(Self(None));
        }
        let versions = tags.iter().filter_map(|tag| {
            let version = tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()?;
            (etag(version) == *tag).then_some(version)
        });
        Ok(Self(Some(versions.collect())))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    async fn sent(values: &[&str]) -> Option<Vec<i64>> {
        let mut request = Request::builder().uri("/x");
        for value in values {
            request = request.header(header::IF_MATCH, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let Ok(IfMatch(versions)) = IfMatch::from_request_parts(&mut parts, &()).await;
        versions
    }

    #[tokio::test]
    async fn versions_are_read_and_anything_else_matches_nothing() {
        assert_eq!(sent(&[]).await, None);
        assert_eq!(sent(&["*"]).await, None);
        assert_eq!(sent(&["\"3\", \"4\"", "\"7\""]).await, Some(vec![3, 4, 7]));
        for other in ["", "3", "W/\"3\"", "\"03\"", "\"x\"", "\"3"] {
            assert_eq!(sent(&[other]).await, Some(vec![]), "{other}");
        }
    }
}
