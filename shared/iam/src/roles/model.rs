//! A role, and what somebody must say to make or change one.

use bulkhead_kernel::{fault::Violation, ids::RoleId};

use super::Held;
use crate::permissions::{Permission, PermissionSet};

/// A role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The id.
    pub id: RoleId,
    /// The name, unlike all others in the tenant whatever its case.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Whether it is there from the first day and stays as it is.
    pub is_system: bool,
    /// Rises with every change.
    pub version: i64,
    /// How many members have it.
    pub n_users: i64,
    /// What it allows.
    pub permissions: Held,
}

/// A role that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRole {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) permissions: PermissionSet,
}

/// What is to change of a role; what is left out stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleChanges {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) permissions: Option<PermissionSet>,
}

impl NewRole {
    /// Checks what came over the wire and reports everything that is wrong with it.
    pub fn parse(name: &str, description: &str, permission_ids: &[String]) -> Result<Self, Vec<Violation>> {
        let mut violations = Vec::new();
        let role = Self {
            name: kept(&mut violations, parse_name(name)),
            description: kept(&mut violations, parse_description(description)),
            permissions: kept(&mut violations, parse_permissions(permission_ids)),
        };
        refused(violations).map_or(Ok(role), Err)
    }
}

impl RoleChanges {
    /// As [`NewRole::parse`].
    pub fn parse(
        name: Option<&str>,
        description: Option<&str>,
        permission_ids: Option<&[String]>,
    ) -> Result<Self, Vec<Violation>> {
        let mut violations = Vec::new();
        let changes = Self {
            name: kept(&mut violations, name.map(parse_name).transpose()),
            description: kept(&mut violations, description.map(parse_description).transpose()),
            permissions: kept(&mut violations, permission_ids.map(parse_permissions).transpose()),
        };
        refused(violations).map_or(Ok(changes), Err)
    }
}

fn refused(violations: Vec<Violation>) -> Option<Vec<Violation>> {
    (!violations.is_empty()).then_some(violations)
}

fn kept<T: Default>(violations: &mut Vec<Violation>, parsed: Result<T, Vec<Violation>>) -> T {
    parsed.map_err(|found| violations.extend(found)).unwrap_or_default()
}

/// Characters that cannot be seen would let a role look like another.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn parse_name(text: &str) -> Result<String, Vec<Violation>> {
    let name = text.trim();
    let has_length = !name.is_empty() && name.chars().nth(50).is_none();
    if has_length && !name.chars().any(is_hidden) {
        return Ok(name.to_owned());
    }
    let detail = "must be 1 to 50 characters, all of them visible";
    Err(vec![Violation::new("/name", detail)])
}

fn parse_description(text: &str) -> Result<String, Vec<Violation>> {
    if text.chars().nth(500).is_none() && !text.chars().any(char::is_control) {
        return Ok(text.trim().to_owned());
    }
    let detail = "must be at most 500 characters, without control characters";
    Err(vec![Violation::new("/description", detail)])
}

/// The set of these ids, each of which has to be in the catalogue.
pub(super) fn parse_permissions(ids: &[String]) -> Result<PermissionSet, Vec<Violation>> {
    let unknown = ids.iter().enumerate().filter(|(_, id)| Permission::find(id).is_none());
    let violations = unknown
        .map(|(index, _)| Violation::new(format!("/permission_ids/{index}"), "is no permission"))
        .take(20)
        .collect();
    let set = PermissionSet::from_ids(ids.iter().map(String::as_str));
    refused(violations).map_or(Ok(set), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers<T>(parsed: Result<T, Vec<Violation>>) -> Vec<String> {
        let violations = parsed.err().unwrap_or_default();
        violations.into_iter().map(|violation| violation.pointer).collect()
    }

    #[test]
    fn a_role_is_kept_trimmed() {
        let role = NewRole::parse(" Night shift ", " ", &["vm:read".into(), "vm:read".into()]).unwrap();
        assert_eq!((role.name.as_str(), role.description.as_str()), ("Night shift", ""));
        assert_eq!(role.permissions, PermissionSet::of(&[Permission::VmRead]));
        assert!(NewRole::parse(&"é".repeat(50), &"é".repeat(500), &[]).is_ok());
    }

    #[test]
    fn everything_wrong_with_a_role_is_told_at_once() {
        let ids = ["vm:read".into(), "vm:fly".into(), "VM:READ".into()];
        let wrong = NewRole::parse("", "\0", &ids);
        assert_eq!(
            pointers(wrong),
            ["/name", "/description", "/permission_ids/1", "/permission_ids/2"]
        );
        let wrong = RoleChanges::parse(Some(&"x".repeat(51)), Some(&"x".repeat(501)), Some(&ids[1..2]));
        assert_eq!(pointers(wrong), ["/name", "/description", "/permission_ids/0"]);
        assert_eq!(RoleChanges::parse(None, None, None), Ok(RoleChanges::default()));
    }

    #[test]
    fn a_name_with_characters_that_cannot_be_seen_is_refused() {
        for name in ["owner\u{200b}", "ow\u{ad}ner", "\u{202e}renwo", "a\nb", "owner\u{feff}"] {
            assert_eq!(pointers(NewRole::parse(name, "", &[])), ["/name"], "{name:?}");
        }
    }
}
