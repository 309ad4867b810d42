//! `[auth]`: tokens, sessions and passwords.

use std::{path::PathBuf, time::Duration};

use super::reader::SectionReader;
use crate::secret::Secret;

/// How people sign in and for how long. It has no `Debug`, as it holds a secret.
#[derive(Clone)]
pub struct Auth {
    /// `iss` of access tokens.
    pub issuer: String,
    /// `aud` of access tokens.
    pub audience: String,
    /// Where the RSA keys are.
    pub keys_dir: PathBuf,
    /// What the private keys in the database are wrapped under; without it, under one derived from the key files.
    pub key_encryption_key: Option<Secret>,
    /// How long a key signs.
    pub key_life: Duration,
    /// How long a key is published before it signs.
    pub key_announce: Duration,
    /// How long an access token is valid.
    pub access_token: Duration,
    /// How long a session may rest.
    pub refresh_idle: Duration,
    /// How long a session may last.
    pub refresh_absolute: Duration,
    /// How long a refresh token may be used a second time; zero means never.
    pub refresh_leeway: Duration,
    /// Whether an unverified address keeps its owner out.
    pub require_verified_email: bool,
    /// The word that tells this installation's API keys from those of others.
    pub key_environment: String,
    /// Memory for one hash.
    pub argon2_memory_kib: u32,
    /// Passes over that memory.
    pub argon2_passes: u32,
    /// How many hashes are made at a time.
    pub password_concurrency: usize,
    /// How often a password may be wrong.
    pub sign_in: SignInLimits,
    /// How often a mail may be asked for.
    pub mails: SignInLimits,
    /// How often a link or a key may be presented by who is not signed in.
    pub link_calls: SignInLimits,
    /// How often an invitation may be sent again.
    pub resends: SignInLimits,
}

/// How often signing in may fail, or something else be done for an account.
#[derive(Debug, Clone, Copy)]
pub struct SignInLimits {
    /// The most failures for one account.
    pub failures_per_account: usize,
    /// The most failures from one address, over all accounts.
    pub failures_per_address: usize,
    /// How long a failure counts.
    pub window: Duration,
}

const YEAR_SECS: i64 = 365 * 86_400;

impl Auth {
    pub(super) fn read(section: &mut SectionReader<'_, '_>) -> Self {
        let auth = Self {
            issuer: section.some_text("issuer"),
            audience: section.some_text("audience"),
            keys_dir: section.path("keys_dir"),
            key_encryption_key: section.secret("key_encryption_key"),
            key_life: section.secs("key_life_secs", 86_400..=3 * YEAR_SECS),
            key_announce: section.secs("key_announce_secs", 3600..=YEAR_SECS),
            access_token: section.secs("access_token_secs", 1..=86_400),
            refresh_idle: section.secs("refresh_idle_secs", 1..=YEAR_SECS),
            refresh_absolute: section.secs("refresh_absolute_secs", 1..=YEAR_SECS),
            refresh_leeway: section.secs("refresh_leeway_secs", 0..=10),
            require_verified_email: section.flag("require_verified_email"),
            key_environment: section.some_text("key_environment"),
            argon2_memory_kib: section.number("argon2_memory_kib", 8..=1_048_576),
            argon2_passes: section.number("argon2_passes", 1..=100),
            password_concurrency: section.number("password_concurrency", 1..=256),
            sign_in: SignInLimits {
                failures_per_account: section.number("sign_in_failures_per_account", 1..=1000),
                failures_per_address: section.number("sign_in_failures_per_address", 1..=100_000),
                window: section.secs("sign_in_window_secs", 1..=86_400),
            },
            mails: SignInLimits {
                failures_per_account: section.number("mails_per_account", 1..=1000),
                failures_per_address: section.number("mails_per_address", 1..=100_000),
                window: section.secs("mails_window_secs", 1..=86_400),
            },
            link_calls: SignInLimits {
                failures_per_account: section.number("link_calls_per_link", 1..=1000),
                failures_per_address: section.number("link_calls_per_address", 1..=100_000),
                window: section.secs("link_calls_window_secs", 1..=86_400),
            },
            resends: SignInLimits {
                failures_per_account: section.number("resends_per_invitation", 1..=1000),
                failures_per_address: section.number("resends_per_address", 1..=100_000),
                window: section.secs("resends_window_secs", 1..=86_400),
            },
        };
        if auth.key_announce + auth.access_token >= auth.key_life {
            section.refuse(
                "key_announce_secs",
                "must be less than key_life_secs, by more than access_token_secs",
            );
        }
        if auth.refresh_idle > auth.refresh_absolute {
            section.refuse("refresh_idle_secs", "must not be more than refresh_absolute_secs");
        }
        let word = &auth.key_environment;
        if word.len() > 10 || !word.bytes().all(|b| b.is_ascii_lowercase()) {
            section.refuse("key_environment", "must be 1 to 10 lower-case letters");
        }
        auth
    }
}
