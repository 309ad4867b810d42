//! A member, and what being one allows.

use bulkhead_kernel::{
    email::Email,
    fault::Violation,
    ids::{IdentityId, RoleId},
};

use crate::{identities::PersonName, permissions::PermissionSet};

/// What an active member with a live session may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// The person's address.
    pub email: String,
    /// The given name.
    pub first_name: String,
    /// The family name.
    pub last_name: String,
    /// The names of the roles, sorted.
    pub roles: Vec<String>,
    /// What all roles together allow.
    pub permissions: PermissionSet,
}

/// A person in a tenant, as others see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The person.
    pub id: IdentityId,
    /// The address.
    pub email: String,
    /// The given name.
    pub first_name: String,
    /// The family name.
    pub last_name: String,
    /// Whether the person may enter the tenant.
    pub is_active: bool,
    /// The names of the roles, sorted.
    pub roles: Vec<String>,
    /// Rises with every change, also of the roles they have.
    pub version: i64,
}

impl From<&Member> for bulkhead_events::Member {
    fn from(member: &Member) -> Self {
        Self {
            id: member.id,
            is_active: member.is_active,
            roles: member.roles.clone(),
        }
    }
}

/// Somebody who is to be a member.
#[derive(Debug, Clone)]
pub struct NewMember {
    pub(super) email: Email,
    pub(super) first_name: PersonName,
    pub(super) last_name: PersonName,
    pub(super) roles: Vec<RoleId>,
}

impl NewMember {
    /// Checks what came over the wire and reports everything that is wrong with it.
    pub fn parse(email: &str, first_name: &str, last_name: &str, role_ids: &[String]) -> Result<Self, Vec<Violation>> {
        let mut violations = Vec::new();
        let email = email.parse::<Email>().map_err(|_| "is not an e-mail address");
        let email = kept(&mut violations, "/email", email);
        let first_name = kept(&mut violations, "/first_name", first_name.parse());
        let last_name = kept(&mut violations, "/last_name", last_name.parse());
        let mut roles = Vec::new();
        for (index, id) in role_ids.iter().enumerate() {
            let role = id.parse::<RoleId>().map_err(|_| "does not exist");
            roles.extend(kept(&mut violations, &format!("/role_ids/{index}"), role));
        }
        match (email, first_name, last_name, violations.is_empty()) {
            (Some(email), Some(first_name), Some(last_name), true) => Ok(Self {
                email,
                first_name,
                last_name,
                roles,
            }),
            _ => Err(violations),
        }
    }
}

/// What is to change of a member; what is left out stays.
#[derive(Debug, Clone, Default)]
pub struct MemberChanges {
    pub(super) is_active: Option<bool>,
    pub(super) first_name: Option<PersonName>,
    pub(super) last_name: Option<PersonName>,
}

impl MemberChanges {
    /// As [`NewMember::parse`].
    pub fn parse(
        is_active: Option<bool>,
        first_name: Option<&str>,
        last_name: Option<&str>,
    ) -> Result<Self, Vec<Violation>> {
        let mut violations = Vec::new();
        let mut name = |pointer, text: Option<&str>| kept(&mut violations, pointer, text.map(str::parse).transpose());
        let changes = Self {
            is_active,
            first_name: name("/first_name", first_name).flatten(),
            last_name: name("/last_name", last_name).flatten(),
        };
        if violations.is_empty() {
            Ok(changes)
        } else {
            Err(violations)
        }
    }
}

fn kept<T>(violations: &mut Vec<Violation>, pointer: &str, parsed: Result<T, &'static str>) -> Option<T> {
    parsed
        .map_err(|objection| violations.push(Violation::new(pointer, objection)))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_wrong_with_a_new_member_is_told_at_once() {
        let wrong = NewMember::parse("ada", "", "a\0b", &["rol_1".into()]).unwrap_err();
        let pointers: Vec<_> = wrong.iter().map(|violation| violation.pointer.as_str()).collect();
        assert_eq!(pointers, ["/email", "/first_name", "/last_name", "/role_ids/0"]);
        assert!(MemberChanges::parse(None, Some(" "), None).is_err());
    }
}
