//! `[worker]`: the process that runs jobs.

use std::{net::SocketAddr, time::Duration};

use super::reader::SectionReader;

/// How a worker process runs.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Where probes and metrics are answered.
    pub internal_listen: SocketAddr,
    /// How many jobs run at a time.
    pub concurrency: usize,
    /// For jobs under way when the process is told to stop.
    pub shutdown_grace: Duration,
}

impl Worker {
    pub(super) fn read(section: &mut SectionReader<'_, '_>) -> Self {
        Self {
            internal_listen: section.address("internal_listen"),
            concurrency: section.number("concurrency", 1..=1024),
            shutdown_grace: section.secs("shutdown_grace_secs", 1..=3600),
        }
    }
}
