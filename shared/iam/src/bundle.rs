//! Everything a program needs to let people in.

use bulkhead_kernel::{clock::Clock, config};
use bulkhead_tenancy::Db;

use crate::{
    api_keys::{KeyCache, KeyLog},
    members::AuthorityCache,
    passwords::{PasswordError, Passwords},
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
            keys: KeyCache::default(),
            key_log: KeyLog::default(),
        })
    }
}
