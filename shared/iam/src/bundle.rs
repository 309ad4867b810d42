//! Everything a program needs to let people in.

use std::time::Instant;

use bulkhead_kernel::{
    clock::Clock,
    config,
    ids::{IdentityId, SessionId},
};
use bulkhead_tenancy::{Db, DbError};

use crate::{
    api_keys::{KeyCache, KeyLog},
    members::AuthorityCache,
    passwords::{PasswordError, Passwords},
    sessions::{Seen, Sightings},
    signing_keys::Vault,
    tokens::{Keys, Tokens},
};

/// The parts that the use cases of this crate work with.
pub struct Iam {
    /// The way to the data.
    pub db: Db,
    /// Access tokens.
    pub tokens: Tokens,
    /// Passwords.
    pub passwords: Passwords,
    /// Lifetimes and policy.
    pub settings: config::Auth,
    /// The time.
    pub clock: Clock,
    pub(crate) authorities: AuthorityCache,
    pub(crate) sightings: Sightings,
    pub(crate) vault: Vault,
    pub(crate) keys: KeyCache,
    pub(crate) key_log: KeyLog,
}

impl Iam {
    /// Puts the parts together. Takes as long as one password check.
    pub fn new(db: Db, keys: Keys, settings: config::Auth, clock: Clock) -> Result<Self, PasswordError> {
        Ok(Self {
            db,
            vault: Vault::new(&settings, &keys),
            tokens: Tokens::new(keys, &settings, clock.clone()),
            passwords: Passwords::new(&settings)?,
            settings,
            clock,
            authorities: AuthorityCache::default(),
            sightings: Sightings::default(),
            keys: KeyCache::default(),
            key_log: KeyLog::default(),
        })
    }

    /// What home says of somebody now; while it does not answer, what this process last saw of them.
    pub(crate) fn as_seen(&self, seen: Seen, answer: Result<bool, DbError>) -> Result<bool, DbError> {
        match answer {
            Ok(is_alive) => {
                self.sightings.note(seen, is_alive, Instant::now());
                Ok(is_alive)
            }
            Err(DbError::Unavailable(_)) if self.db.serves_without_home() && self.sightings.has(seen) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// A session has ended; on this process that bites at once.
    pub(crate) fn forget_session(&self, session: SessionId) {
        self.authorities.forget_session(session);
        self.forget_seen(&[], &[session]);
    }

    /// All sessions of a person have ended.
    pub(crate) fn forget_identity(&self, identity: IdentityId) {
        self.authorities.forget_identity(identity);
        self.forget_seen(&[identity], &[]);
    }

    pub(crate) fn forget_seen(&self, people: &[IdentityId], sessions: &[SessionId]) {
        let longest = self.db.longest_without_home();
        self.sightings.forget(people, sessions, longest, Instant::now());
    }
}
