//! The states of a tenant and how it gets from one to the next.

use std::str::FromStr;

use bulkhead_kernel::fault::Violation;
use bulkhead_tenancy::TableRows;

use crate::TenantStatus;

/// How far a suspended tenant is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspension {
    /// It can be read and not changed.
    ReadOnly,
    /// Nobody but the platform gets in.
    Full,
}

impl Suspension {
    /// As the wire and the database spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read_only",
            Self::Full => "full",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "read_only" => Some(Self::ReadOnly),
            "full" => Some(Self::Full),
            _ => None,
        }
    }
}

impl FromStr for Suspension {
    type Err = Violation;

    fn from_str(text: &str) -> Result<Self, Violation> {
        Self::parse(text).ok_or_else(|| Violation::new("/mode", "must be read_only or full"))
    }
}

/// Why somebody changes a tenant's state: 1 to 500 characters, none of them a control character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// The reason as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Reason {
    type Err = Violation;

    fn from_str(text: &str) -> Result<Self, Violation> {
        let reason = text.trim();
        if (1..=500).contains(&reason.chars().count()) && !reason.chars().any(char::is_control) {
            Ok(Self(reason.into()))
        } else {
            let detail = "must be 1 to 500 characters, without control characters";
            Err(Violation::new("/reason", detail))
        }
    }
}

/// Where a tenant stands, with what decides where it may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Being built.
    Pending,
    /// Open.
    Active,
    /// Closed by the platform.
    Suspended(Suspension),
    /// Deleted, and coming back on a restore until the purge begins.
    Deleting {
        /// What it was closed to before, where it was.
        former: Option<Suspension>,
        /// Whether the purge has begun.
        is_final: bool,
    },
}

impl State {
    /// The status alone.
    #[must_use]
    pub const fn status(self) -> TenantStatus {
        match self {
            Self::Pending => TenantStatus::Pending,
            Self::Active => TenantStatus::Active,
            Self::Suspended(_) => TenantStatus::Suspended,
            Self::Deleting { .. } => TenantStatus::Deleting,
        }
    }

    /// How far it is closed, where it is suspended.
    pub(crate) const fn suspension(self) -> Option<Suspension> {
        match self {
            Self::Suspended(suspension) => Some(suspension),
            _ => None,
        }
    }

    const fn open_or_closed_to(former: Option<Suspension>) -> Self {
        match former {
            Some(suspension) => Self::Suspended(suspension),
            None => Self::Active,
        }
    }

    /// Where the change leads; the same state where it was made before.
    pub(crate) const fn after(self, change: Change) -> Result<Self, Refused> {
        match (self, change) {
            (Self::Active | Self::Suspended(_), Change::Suspend(suspension)) => Ok(Self::Suspended(suspension)),
            (Self::Active | Self::Suspended(_), Change::Resume) => Ok(Self::Active),
            (Self::Active, Change::Delete) => Ok(Self::Deleting {
                former: None,
                is_final: false,
            }),
            (Self::Suspended(suspension), Change::Delete) => Ok(Self::Deleting {
                former: Some(suspension),
                is_final: false,
            }),
            (Self::Deleting { .. }, Change::Delete) => Ok(self),
            (
                Self::Deleting {
                    former,
                    is_final: false,
                },
                Change::Restore,
            ) => Ok(Self::open_or_closed_to(former)),
            (state, _) => Err(Refused(state)),
        }
    }
}

/// What somebody wants of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Suspend(Suspension),
    Resume,
    Delete,
    Restore,
}

impl Change {
    /// What the audit log calls it.
    pub(crate) const fn action(self) -> &'static str {
        match self {
            Self::Suspend(_) => "tenant.suspend",
            Self::Resume => "tenant.resume",
            Self::Delete => "tenant.delete",
            Self::Restore => "tenant.restore",
        }
    }

    /// The name of the event.
    pub(crate) const fn event(self) -> &'static str {
        match self {
            Self::Suspend(_) => "tenant.suspended",
            Self::Resume => "tenant.resumed",
            Self::Delete => "tenant.deletion_requested",
            Self::Restore => "tenant.restored",
        }
    }
}

/// The state in which a change is not possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) State);

impl Refused {
    /// For the person who asked.
    pub(crate) const fn detail(self) -> &'static str {
        match self.0 {
            State::Pending => "The tenant is still being built.",
            State::Active => "The tenant is active.",
            State::Suspended(_) => "The tenant is suspended.",
            State::Deleting { is_final: false, .. } => "The tenant is being deleted; it can be restored.",
            State::Deleting { is_final: true, .. } => "The tenant is being purged; there is no way back.",
        }
    }
}

/// What a tenant holds, and a purge would remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footprint {
    /// Its own tables. Rows are counted up to a million, here and below.
    pub tables: Vec<TableRows>,
    /// The shared tables with its rows in them.
    pub shared_tables: Vec<TableRows>,
    /// What its own tables take on disk.
    pub bytes: i64,
}

impl Footprint {
    /// The rows of one of its own tables; 0 when there is no such table.
    #[must_use]
    pub fn rows(&self, table: &str) -> i64 {
        rows(&self.tables, table)
    }

    /// The rows it has in a shared table; 0 when there is no such table.
    #[must_use]
    pub fn shared_rows(&self, table: &str) -> i64 {
        rows(&self.shared_tables, table)
    }
}

fn rows(tables: &[TableRows], name: &str) -> i64 {
    tables
        .iter()
        .find(|table| table.table == name)
        .map_or(0, |table| table.rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGES: [Change; 5] = [
        Change::Suspend(Suspension::ReadOnly),
        Change::Suspend(Suspension::Full),
        Change::Resume,
        Change::Delete,
        Change::Restore,
    ];

    const fn deleting(former: Option<Suspension>, is_final: bool) -> State {
        State::Deleting { former, is_final }
    }

    #[test]
    fn a_restore_brings_back_what_the_deletion_found() {
        for state in [
            State::Active,
            State::Suspended(Suspension::ReadOnly),
            State::Suspended(Suspension::Full),
        ] {
            let deleted = state.after(Change::Delete).unwrap();
            assert_eq!(deleted.status(), TenantStatus::Deleting);
            assert_eq!(deleted.after(Change::Delete), Ok(deleted));
            assert_eq!(deleted.after(Change::Restore), Ok(state));
        }
    }

    #[test]
    fn nothing_leads_out_of_a_purge_or_past_onboarding() {
        let purging = deleting(None, true);
        for change in CHANGES {
            assert_eq!(State::Pending.after(change), Err(Refused(State::Pending)));
            if change != Change::Delete {
                assert_eq!(purging.after(change), Err(Refused(purging)));
            }
        }
    }

    #[test]
    fn only_a_deleting_tenant_is_restored_and_only_an_open_or_closed_one_suspended() {
        for state in [State::Active, State::Suspended(Suspension::Full)] {
            assert_eq!(state.after(Change::Restore), Err(Refused(state)));
            assert_eq!(state.after(Change::Resume), Ok(State::Active));
            let suspended = State::Suspended(Suspension::ReadOnly);
            assert_eq!(state.after(Change::Suspend(Suspension::ReadOnly)), Ok(suspended));
        }
        let deleted = deleting(None, false);
        assert_eq!(deleted.after(Change::Suspend(Suspension::Full)), Err(Refused(deleted)));
        assert_eq!(deleted.after(Change::Resume), Err(Refused(deleted)));
    }

    #[test]
    fn a_reason_says_something_and_breaks_no_log() {
        assert_eq!(" unpaid ".parse::<Reason>().unwrap().as_str(), "unpaid");
        for bad in ["", "  ", "a\nb", &"x".repeat(501)] {
            assert!(bad.parse::<Reason>().is_err(), "{bad:?}");
        }
    }
}
