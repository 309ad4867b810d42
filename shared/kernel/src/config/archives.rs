//! `[archives]`: tenants as files.

use std::{path::PathBuf, time::Duration};

use super::reader::SectionReader;

/// Where archives lie, how long, and what one may cost.
#[derive(Debug, Clone)]
pub struct Archives {
    /// The folder that all processes share.
    pub dir: PathBuf,
    /// How long an archive is kept.
    pub retention: Duration,
    /// The largest archive taken.
    pub max_upload_bytes: u64,
    /// For an archive to arrive.
    pub upload_timeout: Duration,
    /// For one table, on its way out or in.
    pub table_timeout: Duration,
}

impl Archives {
    pub(super) fn read(section: &mut SectionReader<'_, '_>) -> Self {
        Self {
            dir: section.path("dir"),
            retention: section.secs("retention_secs", 60..=31_536_000),
            max_upload_bytes: section.number("max_upload_bytes", 1024..=17_592_186_044_416),
            upload_timeout: section.secs("upload_timeout_secs", 1..=86_400),
            table_timeout: section.secs("table_timeout_secs", 1..=86_400),
        }
    }
}
