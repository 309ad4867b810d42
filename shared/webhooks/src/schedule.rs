//! How long a delivery waits after each attempt that failed.

use std::time::Duration;

use bulkhead_kernel::ids::MessageId;

/// The waits that Standard Webhooks advises: three days in all.
const WAITS_SECS: [u64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// No endpoint puts us off for longer.
const MAX_WAIT: Duration = Duration::from_hours(24);

/// The wait after the attempt of this number (from 1) in its round; `None` after the last. It is spread by a tenth, so that
/// what failed together does not come back together, and is no shorter than what the endpoint asked for.
pub(crate) fn wait(n_tries: i32, message: MessageId, asked: Option<Duration>) -> Option<Duration> {
    let index = usize::try_from(n_tries - 1).ok()?;
    let secs = Duration::from_secs(*WAITS_SECS.get(index)?);
    let bytes = message.uuid().into_bytes();
    // The last bytes of the id are random; another pair of them for each attempt.
    let random = u16::from_be_bytes([bytes[15 - index % 4], bytes[11 - index % 2]]);
    let spread = secs.mul_f64(1.0 + 0.1 * f64::from(random) / f64::from(u16::MAX));
    Some(spread.max(asked.unwrap_or_default().min(MAX_WAIT)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_ten_attempts_over_three_days() {
        let message = MessageId::new();
        let waits: Vec<Duration> = (1..).map_while(|n| wait(n, message, None)).collect();
        assert_eq!(waits.len(), 9);
        assert!(waits.is_sorted(), "{waits:?}");
        let days = waits.iter().sum::<Duration>().as_secs_f64() / 86_400.0;
        assert!((3.1..3.5).contains(&days), "{days}");
        assert_eq!(wait(10, message, None), None);
        assert_eq!(wait(0, message, None), None);
    }

    #[test]
    fn waits_are_spread_by_a_tenth() {
        let mut waits: Vec<Duration> = (0..100).filter_map(|_| wait(2, MessageId::new(), None)).collect();
        waits.sort_unstable();
        assert!(waits[0] >= Duration::from_mins(5) && waits[99] <= Duration::from_secs(330));
        assert!(waits[99] > waits[0] + Duration::from_secs(5), "{waits:?}");
    }

    #[test]
    fn what_an_endpoint_asks_for_is_heeded_within_a_day() {
        let message = MessageId::new();
        let asking = |secs| wait(1, message, Some(Duration::from_secs(secs))).unwrap();
        assert!(asking(1) < Duration::from_secs(6));
        assert_eq!(asking(3_600), Duration::from_hours(1));
        assert_eq!(asking(1_000_000), MAX_WAIT);
    }
}
