//! Keeps what this process has seen alive true, so that what ended before home went away stays ended.

use bulkhead_kernel::clock::Clock;
use chrono::{DateTime, TimeDelta, Utc};
use tracing::instrument;

use super::{SessionError, store};
use crate::Iam;

/// Clocks of processes differ, and a transaction commits after the time it writes down.
const SLACK: TimeDelta = TimeDelta::minutes(1);

/// How far a process has looked.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    since: DateTime<Utc>,
}

impl Watch {
    /// Nothing was seen before now.
    #[must_use]
    pub fn new(clock: &Clock) -> Self {
        Self {
            since: clock.now() - SLACK,
        }
    }

    /// Forgets the sessions that were ended since the last look, and whose account was switched off. To be called every
    /// second or so. Nothing where there is one cluster.
    #[instrument(skip_all)]
    pub async fn follow(&mut self, iam: &Iam) -> Result<(), SessionError> {
        if !iam.db.has_clusters() {
            return Ok(());
        }
        let begun = iam.clock.now();
        let mut tx = iam.db.control().await?;
        let ended = store::list_revoked(&mut tx, self.since).await?;
        let people = store::list_disabled(&mut tx, &iam.sightings.people()).await?;
        tx.commit().await?;
        iam.forget_seen(&people, &ended);
        self.since = begun - SLACK;
        Ok(())
    }
}
