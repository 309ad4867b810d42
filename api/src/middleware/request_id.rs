//! The id of a request: the caller's own when it is usable, else a new one.

use std::{fmt, sync::Arc};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// The header it comes in and goes out with.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// 1 to 128 visible ASCII characters; safe in a header, a log line and a URN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The longest id a caller may choose.
    pub const MAX_LEN: usize = 128;

    /// The caller's id; a new one when there is none or it is not usable.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let sent = headers.get(X_REQUEST_ID).and_then(|value| value.to_str().ok());
        match sent {
            Some(text) if is_usable(text) => Self(text.into()),
            _ => Self(Uuid::now_v7().simple().to_string().into()),
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as a header.
    #[must_use]
    pub fn to_header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).unwrap_or_else(|_| HeaderValue::from_static("-"))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The characters that a URN (RFC 8141) and a log line take as they are.
fn is_usable(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:+=/@".contains(&b);
    (1..=RequestId::MAX_LEN).contains(&text.len()) && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(value: &[u8]) -> RequestId {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_bytes(value).unwrap());
        RequestId::of(&headers)
    }

    #[test]
    fn a_usable_id_is_kept() {
        let longest = "a".repeat(RequestId::MAX_LEN);
        for id in ["x", "0190a1b2-c3d4", "web:1/2+3==", longest.as_str()] {
            assert_eq!(sent(id.as_bytes()).as_str(), id);
        }
    }

    #[test]
    fn anything_else_is_replaced() {
        let too_long = "a".repeat(RequestId::MAX_LEN + 1);
        for id in ["", " ", "a b", "a\"b", "{}", "a\tb", too_long.as_str()] {
            let minted = sent(id.as_bytes());
            assert_eq!(minted.as_str().len(), 32, "{id:?}");
        }
        assert_eq!(sent(b"\xff").as_str().len(), 32);
        assert_ne!(RequestId::of(&HeaderMap::new()), RequestId::of(&HeaderMap::new()));
    }
}
