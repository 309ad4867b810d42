//! Whom home has let in lately, so that tenants of other clusters can be served while it does not answer.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bulkhead_kernel::ids::{IdentityId, SessionId};

/// The most people and sessions remembered.
const CAPACITY: usize = 50_000;

/// Beyond the capacity who was not seen for so long goes first.
const RECENT: Duration = Duration::from_mins(5);

/// Somebody by one of their sessions, or their account for a key of theirs.
pub(crate) type Seen = (IdentityId, Option<SessionId>);

/// What was seen alive, and when last. What home says has ended is forgotten at once.
#[derive(Default)]
pub(crate) struct Sightings(Mutex<HashMap<Seen, Instant>>);

impl Sightings {
    fn lock(&self) -> MutexGuard<'_, HashMap<Seen, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Home said in this moment whether it lives.
    pub(crate) fn note(&self, seen: Seen, is_alive: bool, now: Instant) {
        let mut known = self.lock();
        if !is_alive {
            known.remove(&seen);
            return;
        }
        if known.len() >= CAPACITY && !known.contains_key(&seen) {
            known.retain(|_, last| now.saturating_duration_since(*last) < RECENT);
        }
        if known.len() < CAPACITY || known.contains_key(&seen) {
            known.insert(seen, now);
        }
    }

    pub(crate) fn has(&self, seen: Seen) -> bool {
        self.lock().contains_key(&seen)
    }

    /// The people among them.
    pub(crate) fn people(&self) -> Vec<IdentityId> {
        let mut people: Vec<_> = self.lock().keys().map(|(person, _)| *person).collect();
        people.sort_unstable();
        people.dedup();
        people
    }

    /// Forgets who ended, and what was not seen within `longest`.
    pub(crate) fn forget(&self, people: &[IdentityId], sessions: &[SessionId], longest: Duration, now: Instant) {
        self.lock().retain(|(person, session), last| {
            !people.contains(person)
                && !session.is_some_and(|session| sessions.contains(&session))
                && now.saturating_duration_since(*last) < longest
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_seen_is_known_until_home_says_otherwise_or_it_is_long_ago() {
        let (now, sightings) = (Instant::now(), Sightings::default());
        let (ada, bob) = (IdentityId::new(), IdentityId::new());
        let (first, second) = (SessionId::new(), SessionId::new());
        for seen in [(ada, Some(first)), (ada, Some(second)), (ada, None), (bob, None)] {
            sightings.note(seen, true, now);
        }
        assert_eq!(sightings.people().len(), 2);
        sightings.note((ada, Some(first)), false, now);
        assert!(!sightings.has((ada, Some(first))) && sightings.has((ada, Some(second))));
        sightings.forget(&[], &[second], RECENT, now);
        assert!(!sightings.has((ada, Some(second))) && sightings.has((ada, None)));
        sightings.forget(&[ada], &[], RECENT, now);
        assert!(!sightings.has((ada, None)) && sightings.has((bob, None)));
        sightings.forget(&[], &[], RECENT, now + RECENT);
        assert!(sightings.people().is_empty());
    }

    #[test]
    fn no_more_than_the_capacity_is_remembered() {
        let (now, sightings) = (Instant::now(), Sightings::default());
        for _ in 0..=CAPACITY {
            sightings.note((IdentityId::new(), None), true, now);
        }
        assert_eq!(sightings.people().len(), CAPACITY);
        sightings.note((IdentityId::new(), None), true, now + RECENT);
        assert_eq!(sightings.people().len(), 1);
    }
}
