//! When a key signs and verifies, and when the next one is due.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{DecodingKey, EncodingKey};

use crate::tokens::PublicKey;

/// Beyond the longest token: clocks differ, and a token may be checked a moment after it was sent.
const MARGIN: Duration = Duration::from_mins(1);

/// The times of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) id: String,
    /// From here on it signs, until the next one does.
    pub(super) activates_at: DateTime<Utc>,
    /// From here on it verifies nothing; not known before the next one is announced.
    pub(super) retires_at: Option<DateTime<Utc>>,
}

/// One key with all that can be done with it.
pub(super) struct RingKey {
    pub(super) times: Times,
    pub(super) signing: EncodingKey,
    pub(super) verifying: DecodingKey,
    pub(super) public: PublicKey,
}

/// The keys that are announced, sign, or still verify.
pub(crate) struct Ring {
    keys: Vec<RingKey>,
}

impl Ring {
    pub(super) fn new(keys: Vec<RingKey>) -> Self {
        Self { keys }
    }

    /// Whether it is made of these very keys.
    pub(super) fn is_of<'t>(&self, times: impl Iterator<Item = &'t Times>) -> bool {
        self.keys.iter().map(|key| &key.times).eq(times)
    }

    fn alive(&self, now: DateTime<Utc>) -> impl Iterator<Item = &RingKey> {
        self.keys.iter().filter(move |key| key.times.is_alive(now))
    }

    fn newest(&self, now: DateTime<Utc>) -> Option<&RingKey> {
        let active = self.alive(now).filter(|key| key.times.activates_at <= now);
        active.max_by_key(|key| key.times.activates_at)
    }

    /// The key that signs now, and its id.
    pub(crate) fn signing(&self, now: DateTime<Utc>) -> Option<(&str, &EncodingKey)> {
        self.newest(now).map(|key| (key.times.id.as_str(), &key.signing))
    }

    /// The key of this id, unless it is retired. One that is only announced verifies too: a clock may run ahead.
    pub(crate) fn verifying(&self, id: &str, now: DateTime<Utc>) -> Option<&DecodingKey> {
        let key = self.alive(now).find(|key| key.times.id == id)?;
        Some(&key.verifying)
    }

    /// What others need to verify, now and soon; the key that signs comes first.
    pub(crate) fn public(&self, now: DateTime<Utc>) -> Vec<PublicKey> {
        let signing = self.signing(now).map(|(id, _)| id);
        let mut keys: Vec<_> = self.alive(now).map(|key| key.public.clone()).collect();
        keys.sort_by_key(|key| Some(key.id.as_str()) != signing);
        keys
    }
}

impl Times {
    pub(super) fn is_alive(&self, now: DateTime<Utc>) -> bool {
        self.retires_at.is_none_or(|at| now < at)
    }
}

/// When the next key is to sign, if it is time to announce it: a life after the newest, and never sooner than an
/// announcement from now.
pub(super) fn due(times: &[Times], now: DateTime<Utc>, life: Duration, announce: Duration) -> Option<DateTime<Utc>> {
    let newest = times.iter().map(|key| key.activates_at).max()?;
    let (end, earliest) = (newest + delta(life), now + delta(announce));
    (end <= earliest).then_some(earliest.max(end))
}

/// How long a key verifies after the next one signs.
pub(super) fn overlap(longest_token: Duration) -> TimeDelta {
    delta(longest_token + MARGIN)
}

pub(super) fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn at(day: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + day * 86_400, 0).unwrap()
    }

    fn key(activates: i64, retires: Option<i64>) -> Times {
        Times {
            id: activates.to_string(),
            activates_at: at(activates),
            retires_at: retires.map(at),
        }
    }

    fn due_on(times: &[Times], day: i64) -> Option<DateTime<Utc>> {
        due(
            times,
            at(day),
            Duration::from_secs(90 * DAY),
            Duration::from_secs(14 * DAY),
        )
    }

    #[test]
    fn the_next_key_is_announced_once_and_as_long_before_the_old_ones_end_as_the_settings_say() {
        let first = key(0, None);
        assert_eq!(due_on(std::slice::from_ref(&first), 75), None);
        assert_eq!(due_on(&[first], 76), Some(at(90)));
        let pair = [key(0, Some(91)), key(90, None)];
        assert_eq!(due_on(&pair, 76), None);
        assert_eq!(due_on(&pair, 165), None);
        assert_eq!(due_on(&pair, 166), Some(at(180)));
        assert_eq!(due_on(&[], 0), None);
    }

    #[test]
    fn a_worker_that_was_away_announces_in_full_before_the_key_signs() {
        assert_eq!(due_on(&[key(0, None)], 300), Some(at(314)));
    }

    #[test]
    fn a_key_is_alive_until_it_retires() {
        assert!(key(0, None).is_alive(at(1000)));
        assert!(key(0, Some(5)).is_alive(at(4)));
        assert!(!key(0, Some(5)).is_alive(at(5)));
    }
}
