//! The refusal.

use std::time::Duration;

use bulkhead_kernel::fault::{Code, Fault};

/// Signing in failed too often, for this account or from this address; which of the two is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("signing in failed too often")]
pub struct TooManyFailures {
    /// Whole seconds, never too few.
    pub(super) retry_after: Duration,
}

impl TooManyFailures {
    pub(super) fn until(wait: Duration) -> Self {
        let secs = wait.as_millis().div_ceil(1000);
        Self {
            retry_after: Duration::from_secs(u64::try_from(secs).unwrap_or(u64::MAX).max(1)),
        }
    }
}

impl Fault for TooManyFailures {
    fn code(&self) -> Code {
        Code::RateLimited
    }

    fn detail(&self) -> std::borrow::Cow<'static, str> {
        "Tried too often; come back later.".into()
    }

    fn retry_after(&self) -> Option<Duration> {
        Some(self.retry_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_rounded_up() {
        for (millis, secs) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (899_999, 900)] {
            let refusal = TooManyFailures::until(Duration::from_millis(millis));
            assert_eq!(refusal.retry_after(), Some(Duration::from_secs(secs)), "{millis} ms");
        }
    }
}
