//! What a key allows, and when it opens nothing.

use std::{fmt, net::IpAddr};

use bulkhead_kernel::ids::ApiKeyId;
use chrono::{DateTime, Utc};

use super::{KeyText, Network, Owner, text::SecretHash};
use crate::permissions::{PEOPLE_ONLY, PermissionSet};

/// Why a key opened nothing. Callers learn of all but [`Refusal::Address`] that the key is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The text is no key; a typo most likely.
    Malformed,
    /// The key is of another installation.
    Environment,
    /// There is no such key, or no such tenant.
    Unknown,
    /// The secret is wrong.
    Secret,
    /// It was revoked.
    Revoked,
    /// Its time is over.
    Expired,
    /// Its owner cannot enter the tenant (any more).
    Owner,
    /// It may not be used from there.
    Address,
}

impl Refusal {
    /// The word for the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Environment => "environment",
            Self::Unknown => "unknown",
            Self::Secret => "secret",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Owner => "owner",
            Self::Address => "address",
        }
    }

    /// Whether whoever sent it held the secret.
    pub(super) const fn is_genuine(self) -> bool {
        matches!(self, Self::Revoked | Self::Expired | Self::Owner | Self::Address)
    }
}

/// What a key allows in this moment, and to whom.
#[derive(Clone)]
pub struct KeyAuthority {
    /// The key.
    pub id: ApiKeyId,
    /// What it is called.
    pub name: String,
    pub(super) owner: Owner,
    pub(super) scopes: PermissionSet,
    /// What the owner's roles allow together, for a member's key.
    pub(super) owner_permissions: PermissionSet,
    /// Whether the tenant has the owner for an active member.
    pub(super) is_owner_active: bool,
    /// Whether the owner's account is on.
    pub(super) is_account_on: bool,
    pub(super) secret_hash: Vec<u8>,
    pub(super) previous: Option<(Vec<u8>, DateTime<Utc>)>,
    pub(super) allowed: Vec<Network>,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) last_used_at: Option<DateTime<Utc>>,
    pub(super) is_revoked: bool,
}

impl KeyAuthority {
    /// What it allows: what it was given and its owner still may, less what only people do.
    #[must_use]
    pub fn permissions(&self) -> PermissionSet {
        let given = match self.owner {
            Owner::Tenant => self.scopes,
            _ => self.scopes.within(self.owner_permissions),
        };
        given.without(PEOPLE_ONLY)
    }

    /// Whether the secret is the key's, or the one before it while that works, too.
    pub(super) fn is_opened_by(&self, hash: &SecretHash, now: DateTime<Utc>) -> bool {
        let former = self.previous.as_ref().filter(|(_, until)| now < *until);
        KeyText::is_same_hash(hash, &self.secret_hash)
            || former.is_some_and(|(former, _)| KeyText::is_same_hash(hash, former))
    }

    /// Whether it opens anything at all.
    pub(super) fn is_live(&self, now: DateTime<Utc>) -> bool {
        let is_backed = self.is_owner_active && self.is_account_on;
        !self.is_revoked && is_backed && self.expires_at.is_none_or(|end| now < end)
    }

    pub(super) fn judge(&self, hash: &SecretHash, from: IpAddr, now: DateTime<Utc>) -> Result<(), Refusal> {
        if !self.is_opened_by(hash, now) {
            Err(Refusal::Secret)
        } else if self.is_revoked {
            Err(Refusal::Revoked)
        } else if !self.is_owner_active || !self.is_account_on {
            Err(Refusal::Owner)
        } else if self.expires_at.is_some_and(|end| end <= now) {
            Err(Refusal::Expired)
        } else if !self.allowed.is_empty() && !self.allowed.iter().any(|network| network.contains(from)) {
            Err(Refusal::Address)
        } else {
            Ok(())
        }
    }
}

/// Without what opens it.
impl fmt::Debug for KeyAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyAuthority")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bulkhead_kernel::ids::{IdentityId, TenantId};

    use super::*;
    use crate::{api_keys::text, permissions::Permission};

    type Change = fn(&mut KeyAuthority);

    const EVERYWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn at(secs: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + secs, 0).unwrap()
    }

    fn key() -> KeyText {
        KeyText::new(TenantId::new(), ApiKeyId::new(), &text::seed())
    }

    fn authority(key: &KeyText) -> KeyAuthority {
        KeyAuthority {
            id: key.id,
            name: "deploy".into(),
            owner: Owner::Tenant,
            scopes: PermissionSet::of(&[Permission::VmRead]),
            owner_permissions: PermissionSet::EMPTY,
            is_owner_active: true,
            is_account_on: true,
            secret_hash: key.hash().into(),
            previous: None,
            allowed: Vec::new(),
            expires_at: None,
            last_used_at: None,
            is_revoked: false,
        }
    }

    #[test]
    fn a_key_allows_what_it_was_given_and_its_owner_may_and_never_what_only_people_do() {
        let key = key();
        let mut found = authority(&key);
        found.scopes = PermissionSet::ALL;
        assert_eq!(found.permissions(), PermissionSet::ALL.without(PEOPLE_ONLY));
        found.owner = Owner::Member(IdentityId::new());
        assert_eq!(found.permissions(), PermissionSet::EMPTY);
        found.owner_permissions =
            PermissionSet::of(&[Permission::VmRead, Permission::ApiKeyRead, Permission::RoleCreate]);
        assert_eq!(found.permissions(), PermissionSet::of(&[Permission::VmRead]));
        found.scopes = PermissionSet::of(&[Permission::JobRead]);
        assert_eq!(found.permissions(), PermissionSet::EMPTY);
    }

    #[test]
    fn each_refusal_has_its_reason_and_a_wrong_secret_learns_none_of_them() {
        let (right, wrong) = (key(), key());
        let judge = |key: &KeyText, change: Change| {
            let mut found = authority(&right);
            change(&mut found);
            found.judge(&key.hash(), EVERYWHERE, at(0))
        };
        assert_eq!(judge(&right, |_| ()), Ok(()));
        let changes: [(Change, Refusal); 5] = [
            (|found| found.is_revoked = true, Refusal::Revoked),
            (|found| found.is_owner_active = false, Refusal::Owner),
            (|found| found.is_account_on = false, Refusal::Owner),
            (|found| found.expires_at = Some(at(0)), Refusal::Expired),
            (
                |found| found.allowed = vec!["10.0.0.0/8".parse().unwrap()],
                Refusal::Address,
            ),
        ];
        for (change, refusal) in changes {
            assert_eq!(judge(&right, change), Err(refusal));
            assert_eq!(judge(&wrong, change), Err(Refusal::Secret));
        }
        assert_eq!(judge(&right, |found| found.expires_at = Some(at(1))), Ok(()));
        assert_eq!(
            judge(&right, |found| found.allowed =
                vec!["::/0".parse().unwrap(), "127.0.0.0/8".parse().unwrap()]),
            Ok(())
        );
    }

    #[test]
    fn the_secret_before_a_rotation_works_until_the_overlap_ends() {
        let (former, current) = (key(), key());
        let mut found = authority(&current);
        found.previous = Some((former.hash().into(), at(10)));
        assert!(found.is_opened_by(&former.hash(), at(9)) && found.is_opened_by(&current.hash(), at(9)));
        assert!(!found.is_opened_by(&former.hash(), at(10)) && found.is_opened_by(&current.hash(), at(10)));
    }
}
