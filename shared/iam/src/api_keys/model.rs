//! A key as those see it who manage keys.

use bulkhead_kernel::{
    ids::{ApiKeyId, IdentityId},
    page::PageRequest,
};
use chrono::{DateTime, Utc};

use super::Network;
use crate::permissions::PermissionSet;

/// The longest time for which a rotated key and its successor both work (7 days).
pub const MAX_OVERLAP_SECS: u32 = 7 * 86_400;

/// Whose rights a key carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A member: what the key allows shrinks with what the member may.
    Member(IdentityId),
    /// Somebody who was a member. The key never works again.
    FormerMember,
    /// The tenant: the key stays when people go.
    Tenant,
}

impl Owner {
    pub(super) fn new(kind: &str, member: Option<IdentityId>) -> Self {
        match (kind, member) {
            ("tenant", _) => Self::Tenant,
            (_, Some(identity)) => Self::Member(identity),
            (_, None) => Self::FormerMember,
        }
    }

    /// The word in the database and over the wire.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Member(_) | Self::FormerMember => "member",
            Self::Tenant => "tenant",
        }
    }

    /// The member.
    #[must_use]
    pub const fn member(self) -> Option<IdentityId> {
        match self {
            Self::Member(identity) => Some(identity),
            Self::FormerMember | Self::Tenant => None,
        }
    }
}

/// A key as those see it who manage keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The id, which is no secret.
    pub id: ApiKeyId,
    /// Whose rights it carries.
    pub owner: Owner,
    /// What it is called.
    pub name: String,
    /// The last characters of its text.
    pub hint: String,
    /// What it was given.
    pub scopes: PermissionSet,
    /// From where it may be used; none means from everywhere.
    pub allowed: Vec<Network>,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute; never where there is none.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Until when the secret before the last rotation works, too.
    pub previous_until: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Why: `revoked`, `leaked` or `imported`.
    pub revoked_reason: Option<String>,
    /// Who made it.
    pub created_by: IdentityId,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it was last changed; using it is no change.
    pub updated_at: DateTime<Utc>,
    /// Rises with every change.
    pub version: i64,
}

impl ApiKey {
    /// `active`, `expired`, `revoked`, or `orphaned` when its owner is no member any more.
    #[must_use]
    pub fn status(&self, now: DateTime<Utc>) -> &'static str {
        if self.revoked_at.is_some() {
            "revoked"
        } else if self.owner == Owner::FormerMember {
            "orphaned"
        } else if self.expires_at.is_some_and(|end| end <= now) {
            "expired"
        } else {
            "active"
        }
    }
}

/// A key that was just made or rotated, with its text. It has no `Debug`, as the text is a secret.
pub struct Minted {
    /// The key.
    pub key: ApiKey,
    /// The text, shown this once.
    pub text: String,
}

/// Which keys.
#[derive(Debug, Clone)]
pub struct KeyFilter {
    /// Part of the name, or of the last characters of the text, whatever its case.
    pub search: Option<String>,
    /// Which part of the list.
    pub page: PageRequest,
    /// Only those that nobody ever used and nobody revoked.
    pub is_unused: bool,
}
