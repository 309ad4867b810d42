//! Typed ids: a UUIDv7 (RFC 9562) that says in its text form what it is the id of, as in `vm_0190a1…`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use uuid::Uuid;

/// The text is not an id of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id of this kind")]
pub struct MalformedId;

/// Parses `prefix_` and 32 lowercase hexadecimal digits; anything else is refused.
fn parse(prefix: &str, text: &str) -> Result<Uuid, MalformedId> {
    let hex = text
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('_'))
        .ok_or(MalformedId)?;
    let is_canonical = hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !is_canonical {
        return Err(MalformedId);
    }
    Uuid::try_parse(hex).map_err(|_| MalformedId)
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// What the text form begins with, without the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new id; later ones of the same process sort after earlier ones.
            #[must_use]
            #[expect(clippy::new_without_default, reason = "a default value would hide that each call differs")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The bare UUID, as the database stores it.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}_{}", $prefix, self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = MalformedId;

            fn from_str(text: &str) -> Result<Self, MalformedId> {
                parse($prefix, text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

ids! {
    /// A customer organisation. Its schema and its role in the database are named after it.
    TenantId = "org";
    /// A person, in every tenant the same; what URLs call a user.
    IdentityId = "usr";
    /// One event of a tenant's audit log.
    AuditEventId = "evt";
    /// A thing of a tenant's own.
    ResourceId = "res";
    /// A named set of permissions in one tenant.
    RoleId = "rol";
    /// An invitation into one tenant.
    InvitationId = "inv";
    /// One sign-in on one device.
    SessionId = "ses";
    /// One link in the chain of a session's refresh tokens.
    RefreshTokenId = "rft";
    /// An API key; an id and no secret.
    ApiKeyId = "key";
    /// An operator's way into one tenant, for a while.
    SupportAccessId = "sup";
    /// The proof of a purge.
    ReceiptId = "rcp";
    /// One queued unit of background work.
    JobId = "job";
    /// The proof of holding a job for one attempt.
    LeaseToken = "lse";
    /// One migration of the whole fleet.
    MigrationRunId = "mig";
    /// An archive of a tenant that was asked for.
    ExportId = "exp";
    /// A tenant being made from an archive.
    ImportId = "imp";
    /// A move of a tenant to another cluster.
    MoveId = "mov";
    /// A virtual machine.
    VmId = "vm";
    /// A change under way on a virtual machine.
    OperationId = "op";
    /// One version of a template for virtual machines.
    TemplateId = "tpl";
    /// An interval of billable use.
    SegmentId = "seg";
    /// Where a tenant wants to be told of events.
    WebhookId = "whk";
    /// One event as it is told to webhooks; the same to each of them, and each time.
    MessageId = "msg";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_read_back() {
        let id = VmId::new();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(serde_json::to_value(id).unwrap(), id.to_string());
    }

    #[test]
    fn another_kind_or_spelling_is_refused() {
        let hex = VmId::new().uuid().simple().to_string();
        for text in [
            format!("usr_{hex}"),
            format!("vm{hex}"),
            format!("vm_{}", hex.to_uppercase()),
            format!("vm_{}", &hex[1..]),
            format!("vm_{hex}0"),
            VmId::new().uuid().to_string(),
            "vm_\u{0}".into(),
            String::new(),
        ] {
            assert_eq!(text.parse::<VmId>(), Err(MalformedId), "{text:?}");
        }
    }

    #[test]
    fn later_ids_sort_after_earlier_ones() {
        let ids: Vec<VmId> = (0..1000).map(|_| VmId::new()).collect();
        assert!(ids.is_sorted());
    }
}
