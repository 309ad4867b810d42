//! An invitation, its states, and what must be said to make or accept one.

use std::str::FromStr;

use bulkhead_kernel::{
    email::Email,
    fault::Violation,
    ids::{IdentityId, InvitationId, RoleId},
    secret::Secret,
};
use bulkhead_tenancy::TenantRef;
use chrono::{DateTime, TimeDelta, Utc};

/// The most roles of one invitation.
const MAX_ROLES: usize = 20;

/// What has become of an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It waits to be accepted.
    Pending,
    /// Somebody is a member by it.
    Accepted,
    /// It was taken back.
    Revoked,
    /// Its time is over.
    Expired,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Accepted, Self::Revoked, Self::Expired];

    /// The word over the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }

    /// What is stored as `self`, at a time when the invitation ends or has ended at `expires_at`.
    pub(super) fn at(self, now: DateTime<Utc>, expires_at: DateTime<Utc>) -> Self {
        match self {
            Self::Pending if expires_at <= now => Self::Expired,
            stored => stored,
        }
    }
}

impl FromStr for Status {
    type Err = Violation;

    fn from_str(text: &str) -> Result<Self, Violation> {
        let found = Self::ALL.into_iter().find(|status| status.as_str() == text);
        found.ok_or_else(|| Violation::new("status", "must be pending, accepted, revoked or expired"))
    }
}

/// A role that an invitation gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvitedRole {
    /// The id.
    pub id: RoleId,
    /// The name; `None` once the role was deleted.
    pub name: Option<String>,
}

/// An invitation, as of some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The id.
    pub id: InvitationId,
    /// Whom it is for.
    pub email: String,
    /// What they will be, by name.
    pub roles: Vec<InvitedRole>,
    /// What has become of it.
    pub status: Status,
    /// Rises with every change.
    pub version: i64,
    /// Who made it.
    pub invited_by: IdentityId,
    /// Who last made, changed or resent it, and answers for its roles.
    pub granted_by: IdentityId,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When its link ends to work.
    pub expires_at: DateTime<Utc>,
    /// When it was accepted or revoked, or a newer one took its place.
    pub closed_at: Option<DateTime<Utc>>,
}

/// How long an invitation works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime(TimeDelta);

impl Lifetime {
    /// A number of days from 1 to 30; 7 where nothing is said.
    pub fn parse(days: Option<i64>) -> Result<Self, Violation> {
        match days.unwrap_or(7) {
            days @ 1..=30 => Ok(Self(TimeDelta::days(days))),
            _ => Err(Violation::new("/expires_in_days", "must be 1 to 30")),
        }
    }

    pub(super) fn from(self, now: DateTime<Utc>) -> DateTime<Utc> {
        now + self.0
    }

    pub(super) const fn days(self) -> i64 {
        self.0.num_days()
    }
}

/// An invitation that somebody wants.
#[derive(Debug, Clone)]
pub struct NewInvitation {
    pub(super) email: Email,
    pub(super) roles: Vec<RoleId>,
    pub(super) lifetime: Lifetime,
}

impl NewInvitation {
    /// Checks what came over the wire and reports everything that is wrong with it.
    pub fn parse(email: &str, role_ids: &[String], days: Option<i64>) -> Result<Self, Vec<Violation>> {
        let email = email
            .parse::<Email>()
            .map_err(|_| Violation::new("/email", "is not an e-mail address"));
        match (email, parse_roles(role_ids), Lifetime::parse(days)) {
            (Ok(email), Ok(roles), Ok(lifetime)) => Ok(Self { email, roles, lifetime }),
            (email, roles, lifetime) => {
                let mut violations: Vec<_> = email.err().into_iter().collect();
                violations.extend(roles.err().unwrap_or_default());
                violations.extend(lifetime.err());
                Err(violations)
            }
        }
    }
}

/// The roles of an invitation: at least one, none twice.
pub(super) fn parse_roles(role_ids: &[String]) -> Result<Vec<RoleId>, Vec<Violation>> {
    if role_ids.is_empty() || role_ids.len() > MAX_ROLES {
        return Err(vec![Violation::new("/role_ids", "must be 1 to 20 roles")]);
    }
    let mut roles = Vec::with_capacity(role_ids.len());
    let mut violations = Vec::new();
    for (index, text) in role_ids.iter().enumerate() {
        let pointer = format!("/role_ids/{index}");
        match text.parse::<RoleId>() {
            Ok(id) if roles.contains(&id) => violations.push(Violation::new(pointer, "is there twice")),
            Ok(id) => roles.push(id),
            Err(_) => violations.push(Violation::new(pointer, "does not exist")),
        }
    }
    if violations.is_empty() {
        Ok(roles)
    } else {
        Err(violations)
    }
}

/// What the holder of a link is offered.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Where.
    pub tenant: TenantRef,
    /// Whom it is for.
    pub email: String,
    /// What they will be, by name.
    pub roles: Vec<String>,
    /// The name of who answers for it; `None` when they have left.
    pub inviter: Option<String>,
    /// Whether the address has an account, which then has to accept.
    pub has_account: bool,
    /// When the link ends to work.
    pub expires_at: DateTime<Utc>,
}

/// Somebody without an account who accepts.
pub struct NewPerson {
    /// The password they want.
    pub password: Secret,
    /// The given name.
    pub first_name: String,
    /// The family name.
    pub last_name: String,
}

/// What somebody has become.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Where.
    pub tenant: TenantRef,
    /// Who.
    pub identity: IdentityId,
    /// Their address.
    pub email: String,
    /// The names of all roles they have there now.
    pub roles: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(violations: Vec<Violation>) -> Vec<String> {
        violations.into_iter().map(|violation| violation.pointer).collect()
    }

    #[test]
    fn everything_wrong_with_an_invitation_is_told_at_once() {
        let role = RoleId::new().to_string();
        let roles = [role.clone(), "rol_1".into(), role.clone()];
        let wrong = NewInvitation::parse("ada", &roles, Some(31)).unwrap_err();
        assert_eq!(
            pointers(wrong),
            ["/email", "/role_ids/1", "/role_ids/2", "/expires_in_days"]
        );
        let none = NewInvitation::parse("ada@example.com", &[], Some(0)).unwrap_err();
        assert_eq!(pointers(none), ["/role_ids", "/expires_in_days"]);
        let many: Vec<_> = (0..21).map(|_| RoleId::new().to_string()).collect();
        assert!(parse_roles(&many).is_err() && parse_roles(&many[1..]).is_ok());
    }

    #[test]
    fn a_week_is_usual_and_thirty_days_are_the_most() {
        let new = NewInvitation::parse(" Ada@Example.com", &[RoleId::new().to_string()], None).unwrap();
        assert_eq!(new.email.as_str(), "ada@example.com");
        assert_eq!(new.lifetime, Lifetime(TimeDelta::days(7)));
        assert_eq!(Lifetime::parse(Some(30)), Ok(Lifetime(TimeDelta::days(30))));
        assert!(Lifetime::parse(Some(i64::MAX)).is_err() && Lifetime::parse(Some(-1)).is_err());
    }

    #[test]
    fn only_what_is_pending_expires_and_to_the_moment() {
        let end = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let before = end - TimeDelta::microseconds(1);
        assert_eq!(Status::Pending.at(before, end), Status::Pending);
        assert_eq!(Status::Pending.at(end, end), Status::Expired);
        for closed in [Status::Accepted, Status::Revoked, Status::Expired] {
            assert_eq!(closed.at(before, end), closed);
            assert_eq!(closed.at(end, end), closed);
        }
        assert!(Status::ALL.iter().all(|status| status.as_str().parse() == Ok(*status)));
    }
}
