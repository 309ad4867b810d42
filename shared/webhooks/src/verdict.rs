//! What an attempt means for its delivery and its webhook.

use std::time::Duration;

use bulkhead_kernel::ids::MessageId;
use chrono::{DateTime, Utc};

use crate::{model::Attempt, schedule};

/// What becomes of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The endpoint took it.
    Taken,
    /// It is tried again after this long.
    Again(Duration),
    /// It is given up.
    GivenUp,
    /// The endpoint says that it is gone for good (410).
    Gone,
}

/// Any 2xx is a yes. `n_tries` counts this attempt, `asked` is what the endpoint said in `Retry-After`.
pub(crate) fn judge(attempt: &Attempt, n_tries: i32, message: MessageId, asked: Option<Duration>) -> Verdict {
    let status = attempt.result.as_ref().map_or(0, |answered| answered.status);
    match status {
        200..=299 => return Verdict::Taken,
        410 => return Verdict::Gone,
        _ => {}
    }
    let asked = asked.filter(|_| matches!(status, 429 | 503));
    schedule::wait(n_tries, message, asked).map_or(Verdict::GivenUp, Verdict::Again)
}

/// The time of `Retry-After`: seconds, or a date (RFC 9110, 10.2.3). One that is neither, or over, is none.
pub(crate) fn retry_after(header: Option<&str>, now: DateTime<Utc>) -> Option<Duration> {
    let text = header?.trim();
    if let Ok(secs) = text.parse() {
        return Some(Duration::from_secs(secs));
    }
    let until = DateTime::parse_from_rfc2822(text).ok()?;
    (until.with_timezone(&Utc) - now).to_std().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Answered;

    fn attempt(status: Option<u16>) -> Attempt {
        let answered = |status| Answered {
            status,
            body: String::new(),
        };
        Attempt {
            number: 1,
            started_at: DateTime::default(),
            duration_ms: 1,
            result: status.map(answered).ok_or_else(|| "unreachable".into()),
        }
    }

    #[test]
    fn every_status_means_what_it_should() {
        let message = MessageId::new();
        let hour = Some(Duration::from_hours(1));
        for status in 100..=999 {
            let verdict = judge(&attempt(Some(status)), 1, message, hour);
            match status {
                200..=299 => assert_eq!(verdict, Verdict::Taken, "{status}"),
                410 => assert_eq!(verdict, Verdict::Gone),
                429 | 503 => assert_eq!(verdict, Verdict::Again(Duration::from_hours(1)), "{status}"),
                _ => assert!(
                    matches!(verdict, Verdict::Again(wait) if wait < Duration::from_secs(6)),
                    "{status}"
                ),
            }
            assert_eq!(
                judge(&attempt(Some(status)), 10, message, None) == Verdict::GivenUp,
                !matches!(status, 200..=299 | 410),
                "{status}"
            );
        }
        assert!(matches!(judge(&attempt(None), 1, message, None), Verdict::Again(_)));
        assert_eq!(judge(&attempt(None), 10, message, None), Verdict::GivenUp);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = "2026-11-20T12:00:00Z".parse().unwrap();
        assert_eq!(retry_after(Some(" 120 "), now), Some(Duration::from_mins(2)));
        let date = "Fri, 20 Nov 2026 12:01:00 GMT";
        assert_eq!(retry_after(Some(date), now), Some(Duration::from_mins(1)));
        for nothing in ["", "-1", "soon", "Fri, 20 Nov 2026 11:00:00 GMT", "1.5"] {
            assert_eq!(retry_after(Some(nothing), now), None, "{nothing}");
        }
        assert_eq!(retry_after(None, now), None);
    }
}
