//! `Range` and `If-Range` (RFC 9110, section 14): the rest of a download that broke off.

use axum::http::{HeaderMap, HeaderName, header};

/// What of a file is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Range {
    /// All of it; also for what is no single range of bytes, which may be ignored.
    Whole,
    /// From the first to the last byte named, both included.
    Part {
        /// The first byte.
        first: u64,
        /// The last byte.
        last: u64,
    },
    /// Nothing of it is in the file.
    Unsatisfiable,
}

impl Range {
    /// What these headers ask for of a file of this length.
    pub(super) fn of(headers: &HeaderMap, etag: &str, len: u64) -> Self {
        let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let is_other = text(header::IF_RANGE).is_some_and(|wanted| wanted != etag);
        match text(header::RANGE).and_then(|range| range.trim().strip_prefix("bytes=")) {
            Some(range) if !is_other => Self::parse(range.trim(), len).unwrap_or(Self::Whole),
            _ => Self::Whole,
        }
    }

    fn parse(range: &str, len: u64) -> Option<Self> {
        let (first, last) = range.split_once('-')?;
        let (first, last) = match (first, last) {
            ("", suffix) => match suffix.parse::<u64>().ok()? {
                0 => return Some(Self::Unsatisfiable),
                suffix => (len.saturating_sub(suffix), u64::MAX),
            },
            (first, "") => (first.parse().ok()?, u64::MAX),
            (first, last) => (first.parse().ok()?, last.parse().ok()?),
        };
        if first > last {
            return None;
        }
        Some(if first < len {
            Self::Part {
                first,
                last: last.min(len - 1),
            }
        } else {
            Self::Unsatisfiable
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn range(range: &'static str, if_range: Option<&'static str>) -> Range {
        let mut headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static(range))]);
        headers.extend(if_range.map(|etag| (header::IF_RANGE, HeaderValue::from_static(etag))));
        Range::of(&headers, "\"a\"", 100)
    }

    #[test]
    fn one_range_of_bytes_is_understood_and_anything_else_is_the_whole() {
        let part = |first, last| Range::Part { first, last };
        for (text, expected) in [
            ("bytes=0-9", part(0, 9)),
            ("bytes=90-", part(90, 99)),
            ("bytes=90-1000", part(90, 99)),
            ("bytes=-10", part(90, 99)),
            ("bytes=-1000", part(0, 99)),
            ("bytes=100-", Range::Unsatisfiable),
            ("bytes=-0", Range::Unsatisfiable),
            ("bytes=9-0", Range::Whole),
            ("bytes=0-1,5-6", Range::Whole),
            ("bytes=x", Range::Whole),
            ("lines=0-9", Range::Whole),
        ] {
            assert_eq!(range(text, None), expected, "{text}");
        }
        assert_eq!(range("bytes=5-", Some("\"a\"")), part(5, 99));
        assert_eq!(range("bytes=5-", Some("\"b\"")), Range::Whole);
        assert_eq!(Range::of(&HeaderMap::new(), "\"a\"", 100), Range::Whole);
    }
}
