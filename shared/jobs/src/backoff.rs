//! How long to wait before the next attempt.

use std::time::Duration;

use bulkhead_kernel::{config, ids::LeaseToken};

/// Doubles from `retry_base` with every attempt up to `retry_max`, spread by a fifth either way so that jobs that failed
/// together do not come back together. Below the maximum each wait is longer than the one before. The spread comes from
/// the random bits of the attempt's own token.
pub(crate) fn backoff(attempt: u16, token: LeaseToken, settings: &config::Jobs) -> Duration {
    let doublings = u32::from(attempt.saturating_sub(1)).min(31);
    let wait = settings
        .retry_base
        .saturating_mul(1 << doublings)
        .min(settings.retry_max);
    let random_bits = u16::from_be_bytes([token.uuid().as_bytes()[14], token.uuid().as_bytes()[15]]);
    wait.mul_f64(0.8 + 0.4 * f64::from(random_bits) / f64::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> config::Jobs {
        config::Jobs {
            lease: Duration::from_secs(15),
            poll: Duration::from_secs(1),
            retry_base: Duration::from_secs(1),
            retry_max: Duration::from_mins(5),
            cancel_grace: Duration::from_secs(5),
        }
    }

    #[test]
    fn waits_grow_up_to_the_maximum() {
        for _ in 0..200 {
            let waits: Vec<Duration> = (1..=9).map(|n| backoff(n, LeaseToken::new(), &settings())).collect();
            assert!(waits.is_sorted_by(|a, b| a < b), "{waits:?}");
        }
    }

    #[test]
    fn waits_stay_within_a_fifth_of_their_step() {
        let steps = [
            (1, 1.0),
            (2, 2.0),
            (5, 16.0),
            (9, 256.0),
            (10, 300.0),
            (31, 300.0),
            (u16::MAX, 300.0),
        ];
        for (attempt, secs) in steps {
            for _ in 0..100 {
                let wait = backoff(attempt, LeaseToken::new(), &settings()).as_secs_f64();
                assert!(
                    (0.8 * secs - 0.001..=1.2 * secs + 0.001).contains(&wait),
                    "{attempt}: {wait}"
                );
            }
        }
    }

    #[test]
    fn jobs_that_failed_together_are_spread() {
        let mut waits: Vec<Duration> = (0..100).map(|_| backoff(4, LeaseToken::new(), &settings())).collect();
        waits.sort_unstable();
        assert!(
            waits[99] > waits[0] + Duration::from_secs(1),
            "{:?} to {:?}",
            waits[0],
            waits[99]
        );
    }
}
