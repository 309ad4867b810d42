//! Settings for the tests of this crate.

use std::time::Duration;

use bulkhead_kernel::config::{Auth, SignInLimits};

const LIMITS: SignInLimits = SignInLimits {
    failures_per_account: 10,
    failures_per_address: 50,
    window: Duration::from_mins(15),
};

/// Real lifetimes, and hashes as cheap as they get.
pub(crate) fn settings() -> Auth {
    Auth {
        issuer: "https://id.example.com".into(),
        audience: "bulkhead".into(),
        keys_dir: "keys".into(),
        key_encryption_key: None,
        key_life: Duration::from_hours(90 * 24),
        key_announce: Duration::from_hours(14 * 24),
        access_token: Duration::from_mins(10),
        refresh_idle: Duration::from_hours(14 * 24),
        refresh_absolute: Duration::from_hours(90 * 24),
        refresh_leeway: Duration::from_secs(10),
        require_verified_email: true,
        key_environment: "live".into(),
        argon2_memory_kib: 8,
        argon2_passes: 1,
        password_concurrency: 2,
        sign_in: LIMITS,
        mails: LIMITS,
        link_calls: LIMITS,
        resends: LIMITS,
    }
}
