//! `[audit]`: the tenants' audit logs.

use std::{path::PathBuf, time::Duration};

use super::reader::SectionReader;

/// How audit logs are sealed, attested and kept.
#[derive(Debug, Clone)]
pub struct Audit {
    /// The folder with the signed checkpoints, outside of the database.
    pub checkpoints_dir: PathBuf,
    /// Between two looks for what is not sealed.
    pub seal: Duration,
    /// Between two checkpoints of one tenant.
    pub checkpoint: Duration,
    /// How long an event is kept where the tenant does not say.
    pub retention_days: i32,
}

impl Audit {
    pub(super) fn read(section: &mut SectionReader<'_, '_>) -> Self {
        Self {
            checkpoints_dir: section.path("checkpoints_dir"),
            seal: section.millis("seal_ms", 1..=30_000),
            checkpoint: section.millis("checkpoint_ms", 0..=50_000),
            retention_days: section.number("retention_days", 30..=3_650),
        }
    }
}
