//! `[tenants]`: the life of tenants.

use std::time::Duration;

use super::reader::SectionReader;

/// How tenants come and go.
#[derive(Debug, Clone)]
pub struct Tenants {
    /// Between the deletion of a tenant and its purge; may be zero.
    pub deletion_grace: Duration,
    /// Between two looks for tenants whose state changed or whose grace is over.
    pub sweep: Duration,
    /// The most invitations of one tenant that wait at a time.
    pub max_pending_invitations: i64,
}

impl Tenants {
    pub(super) fn read(section: &mut SectionReader<'_, '_>) -> Self {
        Self {
            deletion_grace: section.secs("deletion_grace_secs", 0..=315_360_000),
            sweep: section.millis("sweep_ms", 1..=3_600_000),
            max_pending_invitations: section.number("max_pending_invitations", 1..=100_000),
        }
    }
}
