//! A move, and what goes with a tenant.

use bulkhead_kernel::ids::{MoveId, TenantId};
use bulkhead_tenancy::Cluster;
use chrono::{DateTime, Utc};

/// The tables of `control` whose rows live beside the tenant's schema, and go with it; what hangs on another comes after it.
pub const CARRIED: &[&str] = &[
    "audit_heads",
    "audit_outbox",
    "jobs",
    "job_events",
    "job_files",
    "membership_outbox",
    "vm_work",
];

/// The tables of `control` with rows about a tenant that stay at home, and why.
pub const STAYS: &[(&str, &str)] = &[
    ("doctor_tenants", "an examination makes its tenants where it examines"),
    ("exports", "archives are asked for and kept at home"),
    ("imports", "archives are taken at home"),
    (
        "membership_words",
        "what the index was told of last goes with the index",
    ),
    (
        "memberships",
        "who belongs where is asked before anybody knows a cluster",
    ),
    (
        "migration_tenants",
        "how a cluster migrated the tenant stays with the run",
    ),
    (
        "move_changes",
        "what was captured where the tenant leaves is carried over by rounds",
    ),
    ("moves", "home moves tenants"),
    ("onboarding_steps", "home builds tenants"),
    ("placements", "home knows where tenants are"),
    ("purge_receipts", "home signs receipts"),
    ("purge_steps", "home purges"),
    ("refresh_tokens", "sessions are kept at home"),
    ("support_access", "operators are kept at home, and so are their ways in"),
];

/// What is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveState {
    /// Role, schema and empty tables at the target.
    Preparing,
    /// Changes are captured; the rows.
    Copying,
    /// Both halves hold the same at one moment.
    Verifying,
    /// What has changed since, until little is left.
    CatchingUp,
    /// Nobody writes any more; the last changes.
    Freezing,
    /// Rows of shared tables, and the tenant's place.
    Switching,
    /// The target is opened.
    Releasing,
    /// The source's half goes.
    Erasing,
    /// The tenant has moved.
    Done,
    /// The source thaws and the target's half goes.
    Aborting,
    /// The tenant is where it was.
    Aborted,
}

impl MoveState {
    const ALL: [Self; 11] = [
        Self::Preparing,
        Self::Copying,
        Self::Verifying,
        Self::CatchingUp,
        Self::Freezing,
        Self::Switching,
        Self::Releasing,
        Self::Erasing,
        Self::Done,
        Self::Aborting,
        Self::Aborted,
    ];

    /// As the wire and the database spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Copying => "copying",
            Self::Verifying => "verifying",
            Self::CatchingUp => "catching_up",
            Self::Freezing => "freezing",
            Self::Switching => "switching",
            Self::Releasing => "releasing",
            Self::Erasing => "erasing",
            Self::Done => "done",
            Self::Aborting => "aborting",
            Self::Aborted => "aborted",
        }
    }

    pub(super) fn parse(text: &str) -> Self {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.unwrap_or(Self::Aborting)
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub const fn is_finished(self) -> bool {
        matches!(self, Self::Done | Self::Aborted)
    }

    /// Whether the tenant still lives at the source and the move can be called off.
    #[must_use]
    pub const fn can_abort(self) -> bool {
        matches!(
            self,
            Self::Preparing | Self::Copying | Self::Verifying | Self::CatchingUp | Self::Freezing | Self::Switching
        )
    }
}

/// A move of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Its id.
    pub id: MoveId,
    /// Who moves.
    pub tenant: TenantId,
    /// Where it was.
    pub from: Cluster,
    /// Where it goes.
    pub to: Cluster,
    /// What is next.
    pub state: MoveState,
    /// Why it was aborted, or what it fails at.
    pub error: Option<String>,
    /// The version of the schema when it began.
    pub schema_version: Option<i64>,
    /// Tables copied.
    pub n_tables: i32,
    /// Rows copied.
    pub n_rows: i64,
    /// Bytes copied, as text.
    pub n_bytes: i64,
    /// How often it was frozen in vain: what used the tenant did not come to rest.
    pub n_freezes: i32,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// From when on the tenant could not be changed.
    pub frozen_at: Option<DateTime<Utc>>,
    /// Until when.
    pub thawed_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_read_back() {
        for state in MoveState::ALL {
            assert_eq!(MoveState::parse(state.as_str()), state);
        }
    }
}
