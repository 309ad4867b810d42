//! What somebody wants a key to be, and whether it may be so.

use bulkhead_kernel::fault::Violation;
use chrono::{DateTime, SubsecRound, Utc};

use super::Network;
use crate::permissions::{PEOPLE_ONLY, Permission, PermissionSet};

const MAX_NAME_CHARS: usize = 100;

const MAX_NETWORKS: usize = 50;

/// A key that somebody wants, as they say it.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// `member` (who asks) or `tenant`.
    pub owner: String,
    /// 1 to 100 characters.
    pub name: String,
    /// Ids of permissions, at least one.
    pub scopes: Vec<String>,
    /// Networks; none means from everywhere.
    pub allowed_addresses: Vec<String>,
    /// When it ends by itself; in the future.
    pub expires_at: Option<DateTime<Utc>>,
}

/// When a key ends by itself; `None` is never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End(pub Option<DateTime<Utc>>);

/// What is to be different about a key. What is left out stays.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// 1 to 100 characters.
    pub name: Option<String>,
    /// Ids of permissions, at least one.
    pub scopes: Option<Vec<String>>,
    /// Networks; none means from everywhere.
    pub allowed_addresses: Option<Vec<String>>,
    /// When it ends by itself; in the future.
    pub expires_at: Option<End>,
}

/// [`NewKey`] or [`Changes`], checked.
#[derive(Debug, Clone, Default)]
pub(super) struct Valid {
    pub(super) name: Option<String>,
    pub(super) scopes: Option<PermissionSet>,
    pub(super) allowed: Option<Vec<Network>>,
    pub(super) expires_at: Option<End>,
}

impl NewKey {
    pub(super) fn validate(&self, now: DateTime<Utc>) -> Result<Valid, Vec<Violation>> {
        let changes = Changes {
            name: Some(self.name.clone()),
            scopes: Some(self.scopes.clone()),
            allowed_addresses: Some(self.allowed_addresses.clone()),
            expires_at: Some(End(self.expires_at)),
        };
        let mut violations = Vec::new();
        if !["member", "tenant"].contains(&self.owner.as_str()) {
            violations.push(Violation::new("/owner", "must be member or tenant"));
        }
        let valid = changes.check(now, &mut violations);
        if violations.is_empty() {
            Ok(valid)
        } else {
            Err(violations)
        }
    }
}

impl Changes {
    pub(super) fn validate(&self, now: DateTime<Utc>) -> Result<Valid, Vec<Violation>> {
        let mut violations = Vec::new();
        let valid = self.check(now, &mut violations);
        if violations.is_empty() {
            Ok(valid)
        } else {
            Err(violations)
        }
    }

    fn check(&self, now: DateTime<Utc>, violations: &mut Vec<Violation>) -> Valid {
        if self.expires_at.and_then(|End(end)| end).is_some_and(|end| end <= now) {
            violations.push(Violation::new("/expires_at", "must be in the future"));
        }
        Valid {
            name: self.name.as_deref().map(|name| name_of(name, violations)),
            scopes: self.scopes.as_deref().map(|ids| scopes_of(ids, violations)),
            allowed: self
                .allowed_addresses
                .as_deref()
                .map(|all| networks_of(all, violations)),
            // The database keeps no more of it.
            expires_at: self.expires_at.map(|End(end)| End(end.map(|end| end.trunc_subsecs(6)))),
        }
    }
}

fn name_of(name: &str, violations: &mut Vec<Violation>) -> String {
    let name = name.trim();
    let n_chars = name.chars().take(MAX_NAME_CHARS + 1).count();
    if !(1..=MAX_NAME_CHARS).contains(&n_chars) || name.chars().any(char::is_control) {
        let detail = "must be 1 to 100 characters, without control characters";
        violations.push(Violation::new("/name", detail));
    }
    name.to_owned()
}

fn scopes_of(ids: &[String], violations: &mut Vec<Violation>) -> PermissionSet {
    if ids.is_empty() || ids.len() > Permission::ALL.len() {
        violations.push(Violation::new(
            "/scopes",
            "must name at least one permission, and each once",
        ));
        return PermissionSet::EMPTY;
    }
    let mut scopes = PermissionSet::EMPTY;
    for (index, id) in ids.iter().enumerate() {
        let refusal = match Permission::find(id) {
            None => Some("is no permission"),
            Some(permission) if PEOPLE_ONLY.contains(permission) => Some("is for people; no key can have it"),
            Some(permission) if scopes.contains(permission) => Some("is named twice"),
            Some(permission) => {
                scopes = scopes.with(PermissionSet::of(&[permission]));
                None
            }
        };
        if let Some(refusal) = refusal {
            violations.push(Violation::new(format!("/scopes/{index}"), refusal));
        }
    }
    scopes
}

fn networks_of(texts: &[String], violations: &mut Vec<Violation>) -> Vec<Network> {
    if texts.len() > MAX_NETWORKS {
        violations.push(Violation::new("/allowed_addresses", "must be at most 50"));
        return Vec::new();
    }
    let mut networks = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        if let Ok(network) = text.parse() {
            networks.push(network);
        } else {
            let detail = "is neither an address nor a network such as 192.0.2.0/24";
            violations.push(Violation::new(format!("/allowed_addresses/{index}"), detail));
        }
    }
    networks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn new() -> NewKey {
        NewKey {
            owner: "tenant".into(),
            name: " deploy ".into(),
            scopes: vec!["vm:read".into(), "job:read".into()],
            allowed_addresses: vec!["10.0.0.0/8".into(), "2001:db8::7".into()],
            expires_at: Some(now() + chrono::TimeDelta::seconds(1)),
        }
    }

    fn refused(new: &NewKey) -> Vec<String> {
        let violations = new.validate(now()).unwrap_err();
        violations.into_iter().map(|violation| violation.pointer).collect()
    }

    #[test]
    fn what_is_right_is_taken() {
        let valid = new().validate(now()).unwrap();
        assert_eq!(valid.name.as_deref(), Some("deploy"));
        let scopes = PermissionSet::of(&[Permission::JobRead, Permission::VmRead]);
        assert_eq!(valid.scopes, Some(scopes));
        assert_eq!(valid.allowed.unwrap().len(), 2);
        let nothing = Changes::default().validate(now()).unwrap();
        assert!(nothing.name.is_none() && nothing.scopes.is_none() && nothing.expires_at.is_none());
    }

    #[test]
    fn each_mistake_is_named_with_its_place() {
        let with = |change: fn(&mut NewKey)| {
            let mut new = new();
            change(&mut new);
            refused(&new)
        };
        assert_eq!(with(|new| new.owner = "user".into()), ["/owner"]);
        assert_eq!(with(|new| new.name = "  ".into()), ["/name"]);
        assert_eq!(with(|new| new.name = "x".repeat(101)), ["/name"]);
        assert_eq!(with(|new| new.name = "a\0b".into()), ["/name"]);
        assert_eq!(with(|new| new.scopes.clear()), ["/scopes"]);
        assert_eq!(with(|new| new.scopes = vec!["vm:read".into(); 100]), ["/scopes"]);
        assert_eq!(with(|new| new.scopes[1] = "vm:fly".into()), ["/scopes/1"]);
        assert_eq!(with(|new| new.scopes[1] = "vm:read".into()), ["/scopes/1"]);
        assert_eq!(
            with(|new| new.allowed_addresses[1] = "10.0.0.1/8".into()),
            ["/allowed_addresses/1"]
        );
        assert_eq!(
            with(|new| new.allowed_addresses = vec!["::".into(); 51]),
            ["/allowed_addresses"]
        );
        assert_eq!(with(|new| new.expires_at = Some(now())), ["/expires_at"]);
    }

    #[test]
    fn no_key_is_given_what_only_people_do() {
        for permission in PEOPLE_ONLY.iter() {
            let mut new = new();
            new.scopes = vec![permission.to_string()];
            assert_eq!(refused(&new), ["/scopes/0"], "{permission}");
        }
        assert!(
            Permission::ALL
                .iter()
                .filter(|p| p.module() == "api_key")
                .all(|&p| PEOPLE_ONLY.contains(p))
        );
    }
}
