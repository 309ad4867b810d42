//! `[webhooks]`: what tenants are told of.

use std::time::Duration;

use super::reader::SectionReader;

/// How webhooks are sent.
#[derive(Debug, Clone)]
pub struct Webhooks {
    /// The most endpoints of one tenant.
    pub max_per_tenant: i64,
    /// For one attempt.
    pub timeout: Duration,
    /// How long an endpoint may do nothing but fail.
    pub disable_after: Duration,
    /// How long events and what became of them are kept.
    pub keep: Duration,
}

impl Webhooks {
    pub(super) fn read(section: &mut SectionReader<'_, '_>) -> Self {
        let keep_days: u64 = section.number("keep_days", 4..=365);
        Self {
            max_per_tenant: section.number("max_per_tenant", 1..=100),
            timeout: section.secs("timeout_secs", 1..=60),
            disable_after: section.secs("disable_after_secs", 60..=31_536_000),
            keep: Duration::from_secs(keep_days * 86_400),
        }
    }
}
