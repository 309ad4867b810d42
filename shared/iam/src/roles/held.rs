//! What somebody holds or a role allows, as the rows say it.

use std::collections::BTreeSet;

use crate::permissions::{Permission, PermissionSet};

/// Permissions of rows, also those that only a newer release knows. What this release cannot judge is given by nobody
/// but who holds the very same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    known: PermissionSet,
    newer: BTreeSet<String>,
}

impl Held {
    pub(crate) fn of_ids(ids: impl IntoIterator<Item = String>) -> Self {
        let mut held = Self::default();
        for id in ids {
            match Permission::find(&id) {
                Some(permission) => held.known = held.known.with(PermissionSet::of(&[permission])),
                None => {
                    held.newer.insert(id);
                }
            }
        }
        held
    }

    /// Those that this release knows.
    #[must_use]
    pub const fn known(&self) -> PermissionSet {
        self.known
    }

    /// All ids, in the order of the catalogue.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let known = self.known.iter().map(|permission| -> &str { permission.as_str() });
        known.chain(self.newer.iter().map(String::as_str))
    }

    /// No more than `limit`, for a principal who may do less than the person behind it.
    pub(crate) fn within(self, limit: PermissionSet) -> Self {
        if limit.covers(self.known) {
            self
        } else {
            self.known.within(limit).into()
        }
    }

    /// The first permission of `wanted` that is not in it.
    pub(crate) fn lacks<'a>(&self, wanted: &'a Self) -> Option<&'a str> {
        let missing = wanted.known.without(self.known).iter().next();
        let newer = wanted.newer.iter().find(|id| !self.newer.contains(*id));
        missing.map(Permission::as_str).or(newer.map(String::as_str))
    }
}

impl From<PermissionSet> for Held {
    fn from(known: PermissionSet) -> Self {
        Self {
            known,
            newer: BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(ids: &[&str]) -> Held {
        Held::of_ids(ids.iter().map(|&id| id.to_owned()))
    }

    #[test]
    fn what_only_a_newer_release_knows_is_covered_by_the_very_same_alone() {
        let all: Held = PermissionSet::ALL.into();
        assert_eq!(all.lacks(&held(&["vm:read", "vm:fly"])), Some("vm:fly"));
        assert_eq!(held(&["vm:fly"]).lacks(&held(&["vm:fly"])), None);
        assert_eq!(held(&["vm:fly"]).lacks(&held(&["vm:fly", "vm:read"])), Some("vm:read"));
        assert_eq!(all.lacks(&held(&[])), None);
        assert_eq!(
            held(&["vm:fly", "vm:read"]).ids().collect::<Vec<_>>(),
            ["vm:read", "vm:fly"]
        );
    }

    #[test]
    fn a_narrower_principal_holds_no_more_than_its_limit() {
        let person = held(&["vm:read", "vm:create", "vm:fly"]);
        let limit = PermissionSet::of(&[Permission::VmRead, Permission::JobRead]);
        assert_eq!(person.clone().within(limit), held(&["vm:read"]));
        assert_eq!(person.clone().within(PermissionSet::ALL), person);
    }
}
