//! The authority of those who just asked, so that a burst of requests costs one look.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bulkhead_kernel::ids::{IdentityId, SessionId, TenantId};

use super::Authority;

/// How long an answer is believed: the bound within which taking something away bites.
const TTL: Duration = Duration::from_secs(1);

/// The most answers kept.
const CAPACITY: usize = 10_000;

/// Whose authority, where.
pub(super) type Key = (TenantId, IdentityId, SessionId);

/// Positive answers only: who was let in a moment ago may go on, who was refused is looked at again.
pub(crate) struct AuthorityCache<K = Key, V = Authority> {
    entries: Mutex<Entries<K, V>>,
}

struct Entries<K, V> {
    by_key: HashMap<K, (Instant, Arc<V>)>,
    /// Rises whenever something is forgotten, so that an answer read before that moment is not kept after it.
    generation: u64,
}

/// A look that has begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket {
    begun: Instant,
    generation: u64,
}

impl<K, V> Default for AuthorityCache<K, V> {
    fn default() -> Self {
        let entries = Entries {
            by_key: HashMap::new(),
            generation: 0,
        };
        Self {
            entries: Mutex::new(entries),
        }
    }
}

impl<K: Eq + Hash, V> AuthorityCache<K, V> {
    fn lock(&self) -> MutexGuard<'_, Entries<K, V>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer of at most a second ago, or a ticket to look.
    pub(crate) fn get(&self, key: &K, now: Instant) -> Result<Arc<V>, Ticket> {
        let entries = self.lock();
        match entries.by_key.get(key) {
            Some((since, authority)) if now.duration_since(*since) < TTL => Ok(Arc::clone(authority)),
            _ => Err(Ticket {
                begun: now,
                generation: entries.generation,
            }),
        }
    }

    /// Keeps an answer; its age counts from the moment the look began.
    pub(crate) fn put(&self, ticket: Ticket, key: K, authority: &Arc<V>) {
        let mut entries = self.lock();
        if entries.generation != ticket.generation {
            return;
        }
        if entries.by_key.len() >= CAPACITY {
            let is_fresh = |since: Instant| ticket.begun.duration_since(since) < TTL;
            entries.by_key.retain(|_, (since, _)| is_fresh(*since));
        }
        if entries.by_key.len() >= CAPACITY {
            entries.by_key.clear();
        }
        entries.by_key.insert(key, (ticket.begun, Arc::clone(authority)));
    }

    /// What is known of these is wrong from now on.
    pub(crate) fn forget(&self, is_gone: impl Fn(&K) -> bool) {
        let mut entries = self.lock();
        entries.generation += 1;
        entries.by_key.retain(|key, _| !is_gone(key));
    }
}

impl AuthorityCache {
    /// A session has ended; on this process that bites at once.
    pub(crate) fn forget_session(&self, session: SessionId) {
        self.forget(|key| key.2 == session);
    }

    /// All sessions of a person have ended.
    pub(crate) fn forget_identity(&self, identity: IdentityId) {
        self.forget(|key| key.1 == identity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permissions::PermissionSet;

    fn authority() -> Arc<Authority> {
        Arc::new(Authority {
            email: "ada@example.com".into(),
            first_name: "Ada".into(),
            last_name: "Lovelace".into(),
            roles: vec!["owner".into()],
            permissions: PermissionSet::ALL,
        })
    }

    fn key() -> Key {
        (TenantId::new(), IdentityId::new(), SessionId::new())
    }

    #[test]
    fn an_answer_is_believed_for_less_than_a_second_from_when_the_look_began() {
        let (cache, key, begun) = (AuthorityCache::default(), key(), Instant::now());
        let ticket = cache.get(&key, begun).unwrap_err();
        cache.put(ticket, key, &authority());
        assert!(cache.get(&key, begun + Duration::from_millis(999)).is_ok());
        assert!(cache.get(&key, begun + TTL).is_err());
    }

    #[test]
    fn every_part_of_the_key_counts() {
        let (cache, key, now) = (AuthorityCache::default(), key(), Instant::now());
        cache.put(cache.get(&key, now).unwrap_err(), key, &authority());
        for other in [
            (TenantId::new(), key.1, key.2),
            (key.0, IdentityId::new(), key.2),
            (key.0, key.1, SessionId::new()),
        ] {
            assert!(cache.get(&other, now).is_err());
        }
    }

    #[test]
    fn what_is_forgotten_is_gone_at_once_and_does_not_come_back_from_an_older_look() {
        let (cache, key, now) = (AuthorityCache::default(), key(), Instant::now());
        let ticket = cache.get(&key, now).unwrap_err();
        cache.put(ticket, key, &authority());
        cache.forget_session(key.2);
        assert!(cache.get(&key, now).is_err());
        cache.put(ticket, key, &authority());
        assert!(cache.get(&key, now).is_err());
        cache.put(cache.get(&key, now).unwrap_err(), key, &authority());
        cache.forget_identity(key.1);
        assert!(cache.get(&key, now).is_err());
    }

    #[test]
    fn no_more_than_the_capacity_is_kept() {
        let (cache, now) = (AuthorityCache::default(), Instant::now());
        let authority = authority();
        for _ in 0..=CAPACITY {
            let key = key();
            cache.put(cache.get(&key, now).unwrap_err(), key, &authority);
        }
        assert!(cache.lock().by_key.len() <= CAPACITY);
    }
}
