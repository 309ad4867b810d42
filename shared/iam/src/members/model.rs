//! A member, and what being one allows.

use bulkhead_kernel::{fault::Violation, ids::IdentityId};

use crate::permissions::PermissionSet;

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
}

/// What a member's address or name must contain, as a pattern for `ILIKE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Search(String);

impl Search {
    const MAX_CHARS: usize = 100;

    pub(super) fn parse(text: &str) -> Result<Self, Violation> {
        if text.chars().nth(Self::MAX_CHARS).is_some() || text.chars().any(char::is_control) {
            let detail = "must be at most 100 characters, without control characters";
            return Err(Violation::new("search", detail));
        }
        let mut pattern = String::from("%");
        for char in text.trim().chars() {
            if matches!(char, '%' | '_' | '\\') {
                pattern.push('\\');
            }
            pattern.push(char);
        }
        pattern.push('%');
        Ok(Self(pattern))
    }

    pub(super) fn pattern(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_searched_for_is_taken_literally() {
        assert_eq!(Search::parse(" 100%_a\\b ").unwrap().pattern(), "%100\\%\\_a\\\\b%");
        assert_eq!(Search::parse("").unwrap().pattern(), "%%");
    }

    #[test]
    fn a_search_that_no_name_can_match_is_refused() {
        assert!(Search::parse("a\0").is_err());
        assert!(Search::parse(&"x".repeat(101)).is_err());
    }
}
