//! Runs, what they are told and what they tell.

use std::{str::FromStr, time::Duration};

use bulkhead_kernel::ids::{MigrationRunId, TenantId};
use chrono::{DateTime, Utc};

/// What the rings are called, in their order.
pub const RING_NAMES: [&str; 4] = ["canaries", "1 %", "10 %", "100 %"];

/// Which part of the tenants behind the canaries has been reached at the end of each ring but the last.
pub(super) const RING_ENDS: [f64; 2] = [0.01, 0.1];

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Tenants are being migrated, or would be if somebody carried it out.
    Running,
    /// Somebody has paused it.
    Paused,
    /// The failure budget is spent.
    Stopped,
    /// Every tenant is at the target or was skipped.
    Done,
    /// It is over and some tenants failed.
    Failed,
    /// A run to another version came first.
    Superseded,
}

impl RunState {
    const ALL: [Self; 6] = [
        Self::Running,
        Self::Paused,
        Self::Stopped,
        Self::Done,
        Self::Failed,
        Self::Superseded,
    ];

    /// Its name in the table and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
        }
    }

    /// Whether nothing more happens unless somebody asks for it.
    #[must_use]
    pub const fn is_finished(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Superseded)
    }

    /// The table takes no other names.
    pub(super) fn parse(name: &str) -> Self {
        let known = Self::ALL.into_iter().find(|state| state.as_str() == name);
        known.unwrap_or(Self::Stopped)
    }
}

/// How many tenants may fail before a run stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// This many.
    Count(u32),
    /// This part of the run's tenants, rounded up.
    Percent(u8),
}

/// A text is no budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a number of tenants such as 3, or 0% to 100%")]
pub struct MalformedBudget;

impl FromStr for Budget {
    type Err = MalformedBudget;

    fn from_str(text: &str) -> Result<Self, MalformedBudget> {
        match text.strip_suffix('%') {
            Some(percent) => {
                let percent = percent.trim().parse().map_err(|_| MalformedBudget)?;
                (percent <= 100)
                    .then_some(Self::Percent(percent))
                    .ok_or(MalformedBudget)
            }
            None => text.parse().map(Self::Count).map_err(|_| MalformedBudget),
        }
    }
}

/// How a run is to be carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Where it leads to; the newest version otherwise.
    pub target: Option<i64>,
    /// Who goes first, by id or slug.
    pub canaries: Vec<String>,
    /// How many may fail.
    pub budget: Budget,
    /// How many tenants at a time, 1 to 32.
    pub workers: u8,
    /// How often a tenant is tried whose locks cannot be had, 1 to 20.
    pub max_attempts: u8,
    /// For one lock. Below PostgreSQL's `deadlock_timeout` of 1 s it is always the migration that gives up, never a
    /// request; requests of the tenant queue behind a migration that waits.
    pub lock_timeout: Duration,
    /// For one statement of a migration.
    pub statement_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            target: None,
            canaries: Vec::new(),
            budget: Budget::Percent(1),
            workers: 4,
            max_attempts: 6,
            lock_timeout: Duration::from_millis(500),
            statement_timeout: Duration::from_secs(30),
        }
    }
}

/// How many tenants of a run stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Not begun, or to be tried again.
    pub pending: i64,
    /// Claimed by a runner.
    pub running: i64,
    /// At the target.
    pub done: i64,
    /// Given up; each is named with its error.
    pub failed: i64,
    /// Left out, such as those that are being deleted.
    pub skipped: i64,
    /// At the target before the run began.
    pub at_target: i64,
}

/// A run at a glance.
#[derive(Debug, Clone, PartialEq)]
pub struct RunStatus {
    /// Its id.
    pub id: MigrationRunId,
    /// Where it leads to.
    pub target: i64,
    /// Where it stands.
    pub state: RunState,
    /// Why it is paused, stopped or superseded.
    pub reason: Option<String>,
    /// Who started it.
    pub principal: String,
    /// Tenants at a time.
    pub workers: i16,
    /// More failures than this stop it.
    pub max_failures: i32,
    /// Whether somebody carries it out right now.
    pub is_carried_out: bool,
    /// The ring under way, an index of [`RING_NAMES`].
    pub ring: Option<i16>,
    /// Its tenants.
    pub counts: Counts,
    /// How long the rest will take at the pace so far.
    pub remaining: Option<Duration>,
    /// When it was started.
    pub created_at: DateTime<Utc>,
    /// When it was over.
    pub finished_at: Option<DateTime<Utc>>,
}

/// How long `n_left` tenants take when one took `mean_secs` and several are done at a time.
pub(super) fn estimate(n_left: i64, mean_secs: Option<f64>, workers: i16) -> Option<Duration> {
    let n_left = u32::try_from(n_left).ok()?;
    let secs = f64::from(n_left) * mean_secs? / f64::from(workers.max(1));
    Duration::try_from_secs_f64(secs).ok()
}

/// Where one tenant of a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantMigration {
    /// Not begun, or to be tried again.
    Pending,
    /// Claimed by a runner.
    Running,
    /// At the target.
    Done,
    /// Given up.
    Failed,
    /// Left out.
    Skipped,
}

impl TenantMigration {
    /// Its name in the table and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    pub(super) fn parse(name: &str) -> Self {
        let all = [Self::Pending, Self::Running, Self::Done, Self::Skipped];
        let known = all.into_iter().find(|state| state.as_str() == name);
        known.unwrap_or(Self::Failed)
    }
}

/// A tenant in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigratedTenant {
    /// Which one.
    pub id: TenantId,
    /// What people call it.
    pub slug: String,
    /// Its ring, an index of [`RING_NAMES`].
    pub ring: i16,
    /// Where it stands.
    pub state: TenantMigration,
    /// How often it was tried.
    pub attempts: i16,
    /// Why it failed or was left out.
    pub error: Option<String>,
}

/// What a run would do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Where it would lead to.
    pub target: i64,
    /// The versions at which tenants stand, the oldest first.
    pub versions: Vec<PlannedVersion>,
    /// Tenants without a schema yet; they are born at the newest version.
    pub unbuilt: i64,
    /// How many tenants each ring would have.
    pub rings: [i64; 4],
}

/// The tenants at one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedVersion {
    /// Theirs.
    pub version: i64,
    /// All of them.
    pub tenants: i64,
    /// Those among them that are being deleted and would be skipped.
    pub deleting: i64,
    /// What would run; `None` when they are too old for this build.
    pub migrations: Option<Vec<String>>,
    /// Whether this build serves them as they are.
    pub is_served: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_count_or_a_part() {
        assert_eq!("3".parse(), Ok(Budget::Count(3)));
        assert_eq!("0%".parse(), Ok(Budget::Percent(0)));
        assert_eq!("100 %".parse(), Ok(Budget::Percent(100)));
        for text in ["", "%", "101%", "-1", "1.5%", "a"] {
            assert_eq!(text.parse::<Budget>(), Err(MalformedBudget), "{text}");
        }
    }

    #[test]
    fn the_rest_takes_as_long_as_what_was_done() {
        assert_eq!(estimate(100, Some(0.2), 4), Some(Duration::from_secs(5)));
        assert_eq!(estimate(0, Some(0.2), 4), Some(Duration::ZERO));
        assert_eq!(estimate(100, None, 4), None);
        assert_eq!(estimate(-1, Some(0.2), 4), None);
    }

    #[test]
    fn states_are_read_as_they_are_written() {
        for state in RunState::ALL {
            assert_eq!(RunState::parse(state.as_str()), state);
        }
    }
}
