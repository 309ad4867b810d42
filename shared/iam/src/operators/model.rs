//! An operator, and what must be said to make one.

use bulkhead_kernel::{email::Email, fault::Violation, ids::IdentityId};
use chrono::{DateTime, Utc};

use crate::identities::PersonName;

/// Somebody who runs the platform, or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The person.
    pub id: IdentityId,
    /// The address.
    pub email: String,
    /// The given name.
    pub first_name: String,
    /// The family name.
    pub last_name: String,
    /// Whether they may act.
    pub is_active: bool,
    /// The operator who made this one; `system` from a terminal.
    pub created_by: String,
    /// Since when they are one.
    pub created_at: DateTime<Utc>,
    /// When they were last activated or deactivated.
    pub changed_at: DateTime<Utc>,
}

/// Somebody who is to run the platform. The names are of use only for a person who is nobody yet.
#[derive(Debug, Clone)]
pub struct NewOperator {
    pub(super) email: Email,
    pub(super) first_name: PersonName,
    pub(super) last_name: PersonName,
}

impl NewOperator {
    /// Checks what came over the wire and reports everything that is wrong with it.
    pub fn parse(email: &str, first_name: &str, last_name: &str) -> Result<Self, Vec<Violation>> {
        let mut violations = Vec::new();
        let email = kept(
            &mut violations,
            "/email",
            email.parse().map_err(|_| "is not an e-mail address"),
        );
        let first_name = kept(&mut violations, "/first_name", first_name.parse());
        let last_name = kept(&mut violations, "/last_name", last_name.parse());
        match (email, first_name, last_name) {
            (Some(email), Some(first_name), Some(last_name)) => Ok(Self {
                email,
                first_name,
                last_name,
            }),
            _ => Err(violations),
        }
    }
}

fn kept<T>(violations: &mut Vec<Violation>, pointer: &str, parsed: Result<T, &'static str>) -> Option<T> {
    parsed
        .map_err(|objection| violations.push(Violation::new(pointer, objection)))
        .ok()
}

/// What came of making an operator from a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// A new person, with the given password.
    Created(IdentityId),
    /// Somebody known, who is an active operator now and keeps the old password.
    Known(IdentityId),
}
