//! A way into a tenant, and what must be said to get one.

use bulkhead_kernel::{
    fault::Violation,
    ids::{IdentityId, SupportAccessId, TenantId},
};
use chrono::{DateTime, Duration, Utc};

/// Minutes where nobody says how many.
const USUAL_MINUTES: i64 = 60;

/// The most minutes.
const MOST_MINUTES: i64 = 480;

/// What an operator wants in a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub(super) reason: String,
    pub(super) lifetime: Duration,
    pub(super) can_write: bool,
}

impl Wanted {
    /// Checks what came over the wire and reports everything that is wrong with it. `minutes` is 1 to 480, 60 where it is
    /// left out; the reason has 10 to 500 characters.
    pub fn parse(reason: &str, minutes: Option<i64>, can_write: bool) -> Result<Self, Vec<Violation>> {
        let mut violations = Vec::new();
        let reason = reason.trim();
        if !(10..=500).contains(&reason.chars().count()) || reason.chars().any(char::is_control) {
            let detail = "must be 10 to 500 characters, without control characters";
            violations.push(Violation::new("/reason", detail));
        }
        let minutes = minutes.unwrap_or(USUAL_MINUTES);
        if !(1..=MOST_MINUTES).contains(&minutes) {
            violations.push(Violation::new("/minutes", "must be from 1 to 480"));
        }
        if violations.is_empty() {
            Ok(Self {
                reason: reason.to_owned(),
                lifetime: Duration::minutes(minutes),
                can_write,
            })
        } else {
            Err(violations)
        }
    }
}

/// A way into a tenant, live or over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupportAccess {
    /// Its id; the principal of what is done through it.
    pub id: SupportAccessId,
    /// Into which tenant.
    pub tenant: TenantId,
    /// Who has it.
    pub operator: IdentityId,
    /// Their address.
    pub email: String,
    /// Why.
    pub reason: String,
    /// Whether it does more than look.
    pub can_write: bool,
    /// From when on.
    pub created_at: DateTime<Utc>,
    /// Until when, unless it is ended before.
    pub expires_at: DateTime<Utc>,
    /// When it was ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The principal who ended it.
    pub ended_by: Option<String>,
}

impl SupportAccess {
    /// Whether it opens the tenant at this time, as long as its operator is active.
    #[must_use]
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.ended_at.is_none() && now < self.expires_at
    }
}

/// What lets a request in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveAccess {
    /// The way in.
    pub id: SupportAccessId,
    /// Who comes.
    pub operator: IdentityId,
    /// The operator's address.
    pub email: String,
    /// The given name.
    pub first_name: String,
    /// The family name.
    pub last_name: String,
    /// Whether it does more than look.
    pub can_write: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_and_a_time_within_bounds_are_needed() {
        let wanted = Wanted::parse("  ticket 4711: machines do not start ", None, false).unwrap();
        assert_eq!(wanted.reason, "ticket 4711: machines do not start");
        assert_eq!(wanted.lifetime, Duration::hours(1));
        assert!(Wanted::parse(&"é".repeat(500), Some(480), true).is_ok());
        for (reason, minutes, wrong) in [
            ("too short", Some(1), &["/reason"][..]),
            ("         x         ", Some(1), &["/reason"]),
            ("a reason\nof two lines", Some(1), &["/reason"]),
            (&"x".repeat(501), Some(0), &["/reason", "/minutes"]),
            ("long enough a reason", Some(481), &["/minutes"]),
            ("long enough a reason", Some(-1), &["/minutes"]),
        ] {
            let violations = Wanted::parse(reason, minutes, false).unwrap_err();
            let pointers: Vec<_> = violations.iter().map(|violation| violation.pointer.as_str()).collect();
            assert_eq!(pointers, wrong, "{reason}");
        }
    }
}
