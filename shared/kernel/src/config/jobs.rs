//! `[jobs]`: the job queue.

use std::time::Duration;

use super::reader::SectionReader;

/// How jobs are held and retried.
#[derive(Debug, Clone)]
pub struct Jobs {
    /// How long a job is held without a sign of life.
    pub lease: Duration,
    /// Between two looks for due jobs without notice.
    pub poll: Duration,
    /// Before the first retry.
    pub retry_base: Duration,
    /// The longest wait between two retries.
    pub retry_max: Duration,
    /// What a handler may take to clean up after it was told to end.
    pub cancel_grace: Duration,
}

/// How long finished jobs are kept, of the same section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobRetention {
    /// Days after a job was done, or called off.
    pub done_days: i64,
    /// Days after a job was given up.
    pub dead_days: i64,
}

impl JobRetention {
    pub(super) fn read(section: &mut SectionReader<'_, '_>) -> Self {
        Self {
            done_days: section.number("keep_done_days", 1..=3_650),
            dead_days: section.number("keep_dead_days", 1..=3_650),
        }
    }
}

impl Jobs {
    pub(super) fn read(section: &mut SectionReader<'_, '_>) -> Self {
        let jobs = Self {
            lease: section.millis("lease_ms", 100..=3_600_000),
            poll: section.millis("poll_ms", 1..=3_600_000),
            retry_base: section.millis("retry_base_ms", 1..=3_600_000),
            retry_max: section.millis("retry_max_ms", 1..=86_400_000),
            cancel_grace: section.millis("cancel_grace_ms", 1..=300_000),
        };
        if jobs.retry_base > jobs.retry_max {
            section.refuse("retry_base_ms", "must not be more than retry_max_ms");
        }
        jobs
    }

    /// How often a worker renews its hold: two renewals may be lost before the lease runs out.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        self.lease / 3
    }
}
