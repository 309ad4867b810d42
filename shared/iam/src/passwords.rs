//! Passwords: which are taken, how they are kept, and how one is checked without telling who exists.
//!
//! - Kept as argon2id. A check costs tens of milliseconds of a core and tens of MiB, so only as many run at once as the
//!   settings say, on blocking threads; a flood of sign-ins waits here and is turned away when the queue is full.
//! - An account that does not exist is checked against a hash of nobody's password with the live parameters.

use std::{
    collections::HashSet,
    sync::{Arc, LazyLock},
    time::Instant,
};

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version,
    password_hash::{self, phc::PasswordHash},
};
use bulkhead_kernel::{
    config,
    fault::{Code, Fault},
    secret::Secret,
    telemetry::metrics,
};
use rand::{RngCore, rngs::OsRng};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task,
};

/// Fewer characters are guessed too soon (NIST SP 800-63B).
pub const MIN_CHARS: usize = 8;

/// More than this is no password, but work for our hash.
pub const MAX_CHARS: usize = 128;

/// How many may wait for one running check before the rest is turned away.
const WAITING_PER_CHECK: usize = 256;

static COMMON: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("../data/common_passwords.txt").lines().collect());

/// Why a password is not taken, or could not be hashed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// More people sign in than the machine can check in reasonable time.
    #[error("too many password checks are waiting")]
    Overloaded,
    /// The hash function refused its parameters, or a stored hash is damaged.
    #[error("hashing failed")]
    Hash(#[source] password_hash::Error),
    /// The thread that hashed is gone.
    #[error("the hashing thread is gone")]
    Gone(#[source] task::JoinError),
}

impl Fault for PasswordError {
    fn code(&self) -> Code {
        match self {
            Self::Overloaded => Code::Overloaded,
            Self::Hash(_) | Self::Gone(_) => Code::Internal,
        }
    }
}

/// What is wrong with a wanted password, as a sentence for its owner; `None` when it may be used.
#[must_use]
pub fn objection(password: &str, email: &str) -> Option<&'static str> {
    let chars = password.chars().take(MAX_CHARS + 1).count();
    let lower = password.to_lowercase();
    if chars < MIN_CHARS {
        Some("needs at least 8 characters")
    } else if chars > MAX_CHARS {
        Some("has more than 128 characters")
    } else if password.contains('\0') {
        Some("contains a NUL character")
    } else if COMMON.contains(lower.as_str()) || is_repetitive(&lower) {
        Some("is one of the most common passwords; choose another")
    } else if !email.is_empty() && lower == email.to_lowercase() {
        Some("is the e-mail address; choose another")
    } else {
        None
    }
}

/// One character over and over.
fn is_repetitive(password: &str) -> bool {
    let mut chars = password.chars();
    let first = chars.next();
    chars.all(|char| Some(char) == first)
}

/// Hashes and checks passwords; cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    hasher: Argon2<'static>,
    nobody: Arc<str>,
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Passwords {
    /// Prepares the hash of nobody's password, which takes as long as one check.
    pub fn new(settings: &config::Auth) -> Result<Self, PasswordError> {
        let params = Params::new(settings.argon2_memory_kib, settings.argon2_passes, 1, None);
        let params = params.map_err(|error| PasswordError::Hash(error.into()))?;
        let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut secret = [0; 32];
        OsRng.fill_bytes(&mut secret);
        let nobody = hasher.hash_password(&secret).map_err(PasswordError::Hash)?;
        let concurrency = settings.password_concurrency.max(1);
        Ok(Self {
            hasher,
            nobody: nobody.to_string().into(),
            running: Arc::new(Semaphore::new(concurrency)),
            waiting: Arc::new(Semaphore::new(concurrency * WAITING_PER_CHECK)),
        })
    }

    /// A hash to store.
    pub async fn hash(&self, password: Secret) -> Result<String, PasswordError> {
        let hasher = self.hasher.clone();
        self.run(move || {
            let hash = hasher.hash_password(password.expose().as_bytes());
            hash.map(|hash| hash.to_string()).map_err(PasswordError::Hash)
        })
        .await
    }

    /// Whether the password is the one of the stored hash. Without a hash the answer is no, and takes as long.
    pub async fn is_right(&self, password: Secret, stored: Option<String>) -> Result<bool, PasswordError> {
        let hasher = self.hasher.clone();
        let is_known = stored.is_some();
        let hash = stored.unwrap_or_else(|| self.nobody.to_string());
        self.run(move || {
            let hash = PasswordHash::new(&hash).map_err(|error| PasswordError::Hash(error.into()))?;
            match hasher.verify_password(password.expose().as_bytes(), &hash) {
                Ok(()) => Ok(is_known),
                Err(password_hash::Error::PasswordInvalid) => Ok(false),
                Err(error) => Err(PasswordError::Hash(error)),
            }
        })
        .await
    }

    async fn run<T, F>(&self, work: F) -> Result<T, PasswordError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, PasswordError> + Send + 'static,
    {
        let asked = Instant::now();
        let permit = self.queue().await?;
        let done = task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        });
        let done = done.await.map_err(PasswordError::Gone)?;
        metrics::auth_password().record(asked.elapsed());
        done
    }

    /// The permit goes with the work, not with the caller: a client that hangs up does not let another check start
    /// while its own still runs.
    async fn queue(&self) -> Result<OwnedSemaphorePermit, PasswordError> {
        let _place = self.waiting.try_acquire().map_err(|_| PasswordError::Overloaded)?;
        let permit = Arc::clone(&self.running).acquire_owned().await;
        permit.map_err(|_| PasswordError::Overloaded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }

    #[test]
    fn common_short_long_and_broken_passwords_meet_an_objection() {
        let long = "é".repeat(MAX_CHARS + 1);
        for password in [
            "",
            "seven77",
            "password",
            "PassWord123",
            "1q2w3e4r",
            "iloveyou",
            "qqqqqqqqqqq",
            "with\0nul-inside",
            "Ada@example.com",
            &long,
        ] {
            assert!(objection(password, "ada@example.com").is_some(), "{password:?}");
        }
    }

    #[test]
    fn anything_else_may_be_used_whatever_its_characters() {
        let longest = "aé".repeat(MAX_CHARS / 2);
        for password in [
            "eight*ch",
            "correct horse battery staple",
            "пароль-или-нет",
            "🦀🦀🦀🦀🦀🦀🦀🐚",
            &longest,
        ] {
            assert_eq!(objection(password, "ada@example.com"), None, "{password:?}");
        }
    }

    #[test]
    fn the_list_is_lower_case_and_holds_only_what_length_would_let_pass() {
        assert!(COMMON.len() > 500);
        for password in COMMON.iter() {
            assert!(password.chars().count() >= MIN_CHARS, "{password}");
            assert_eq!(*password, password.to_lowercase());
        }
    }

    #[tokio::test]
    async fn a_hash_is_argon2id_with_the_live_parameters_and_opens_for_its_password_only() {
        let passwords = Passwords::new(&fixtures::settings()).unwrap();
        let hash = passwords.hash(secret("correct horse")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
        assert!(passwords.nobody.starts_with("$argon2id$v=19$m=8,t=1,p=1$"));
        assert_ne!(hash, passwords.hash(secret("correct horse")).await.unwrap());
        assert!(
            passwords
                .is_right(secret("correct horse"), Some(hash.clone()))
                .await
                .unwrap()
        );
        assert!(!passwords.is_right(secret("Correct horse"), Some(hash)).await.unwrap());
        assert!(!passwords.is_right(secret("correct horse"), None).await.unwrap());
    }

    #[tokio::test]
    async fn a_damaged_hash_is_an_error_and_no_wrong_password() {
        let passwords = Passwords::new(&fixtures::settings()).unwrap();
        let result = passwords
            .is_right(secret("correct horse"), Some("$argon2id$".into()))
            .await;
        assert!(matches!(result, Err(PasswordError::Hash(_))));
    }

    #[tokio::test]
    async fn no_more_checks_run_than_allowed_and_a_full_queue_turns_away() {
        let passwords = Passwords::new(&fixtures::settings()).unwrap();
        let all = passwords.running.clone().acquire_many_owned(2).await.unwrap();
        let queued: Vec<_> = (0..2 * WAITING_PER_CHECK)
            .map(|_| {
                let passwords = passwords.clone();
                tokio::spawn(async move { passwords.is_right(secret("x"), None).await })
            })
            .collect();
        while passwords.waiting.available_permits() > 0 {
            task::yield_now().await;
        }
        let refused = passwords.is_right(secret("x"), None).await;
        assert!(matches!(refused, Err(PasswordError::Overloaded)));
        drop(all);
        for check in queued {
            assert!(!check.await.unwrap().unwrap());
        }
    }
}
