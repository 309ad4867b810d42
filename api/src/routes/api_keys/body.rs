//! What goes over the wire about API keys.

use bulkhead_iam::{
    api_keys::{ApiKey, Changes, End, KeyFilter, Minted, NewKey},
    permissions::Permission,
};
use bulkhead_kernel::page::PageRequest;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

/// A key that somebody wants.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "deploy", "owner": "tenant", "scopes": ["vm:read", "vm:create"],
    "allowed_addresses": ["192.0.2.0/24"], "expires_at": "2036-01-01T00:00:00Z"}))]
pub struct CreateApiKey {
    /// 1 to 100 characters.
    name: String,
    /// `member`, who is the caller, or `tenant`.
    #[serde(default = "member")]
    #[schema(default = "member")]
    owner: String,
    /// Permissions that the caller has; managing people, roles, invitations and keys is for people alone.
    scopes: Vec<String>,
    /// Addresses and networks; at most 50, and none means from everywhere.
    #[serde(default)]
    allowed_addresses: Vec<String>,
    /// In the future; never when it is left out.
    expires_at: Option<DateTime<Utc>>,
}

fn member() -> String {
    "member".into()
}

impl From<CreateApiKey> for NewKey {
    fn from(wanted: CreateApiKey) -> Self {
        Self {
            owner: wanted.owner,
            name: wanted.name,
            scopes: wanted.scopes,
            allowed_addresses: wanted.allowed_addresses,
            expires_at: wanted.expires_at,
        }
    }
}

/// What is to be different.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"scopes": ["vm:read"], "expires_at": "2036-01-01T00:00:00Z"}))]
pub struct UpdateApiKey {
    /// 1 to 100 characters.
    name: Option<String>,
    /// Permissions that the caller has.
    scopes: Option<Vec<String>>,
    /// Addresses and networks; at most 50, and none means from everywhere.
    allowed_addresses: Option<Vec<String>>,
    /// In the future; `null` for never.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    expires_at: Option<End>,
}

/// Tells `null` from what is left out.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<End>, D::Error> {
    Option::deserialize(deserializer).map(|end| Some(End(end)))
}

impl From<UpdateApiKey> for Changes {
    fn from(wanted: UpdateApiKey) -> Self {
        Self {
            name: wanted.name,
            scopes: wanted.scopes,
            allowed_addresses: wanted.allowed_addresses,
            expires_at: wanted.expires_at,
        }
    }
}

/// How a key is rotated.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"overlap_secs": 3600}))]
pub struct RotateApiKey {
    /// Seconds for which the secret so far works, too; 0 ends it now, 604800 (7 days) is the most.
    #[schema(maximum = 604_800)]
    pub(super) overlap_secs: u32,
}

/// A text that was found somewhere.
#[derive(Deserialize, ToSchema)]
#[schema(example = json!({"key": "bh_live_…"}))]
pub struct ReportLeak {
    /// The key as it was found, whole.
    pub(super) key: String,
}

/// The answer to every report.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"status": "received"}))]
pub struct LeakReported {
    /// `received`.
    status: &'static str,
}

impl Default for LeakReported {
    fn default() -> Self {
        Self { status: "received" }
    }
}

/// Which keys.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct KeyQuery {
    /// Part of the name, or of the key's last characters, whatever its case.
    search: Option<String>,
    /// Only keys that nobody ever used and nobody revoked.
    #[serde(default)]
    unused: bool,
}

impl KeyQuery {
    pub(super) fn filter(self, page: PageRequest) -> KeyFilter {
        KeyFilter {
            search: self.search,
            page,
            is_unused: self.unused,
        }
    }
}

/// A key, without its secret.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"id": "key_0190a1b2c3d4e5f60718293a4b5c6d7e", "name": "deploy", "hint": "x7Qa",
    "status": "active", "owner": {"type": "member", "id": "usr_0190a1b2c3d4e5f60718293a4b5c6d7e"},
    "scopes": ["vm:read", "vm:create"], "allowed_addresses": ["192.0.2.0/24"], "expires_at": "2036-01-01T00:00:00Z",
    "last_used_at": null, "previous_until": null, "revoked_at": null, "revoked_reason": null,
    "created_by": "usr_0190a1b2c3d4e5f60718293a4b5c6d7e", "created_at": "2026-11-20T12:00:00Z",
    "updated_at": "2026-11-20T12:00:00Z"}))]
pub struct ApiKeyBody {
    id: String,
    name: String,
    /// The last characters of the key.
    hint: String,
    /// `active`, `expired`, `revoked`, or `orphaned` when its owner is no member any more.
    status: &'static str,
    owner: KeyOwner,
    /// What it was given; a member's key allows no more of it than the member may.
    scopes: Vec<&'static str>,
    /// From where it may be used; empty means from everywhere.
    allowed_addresses: Vec<String>,
    expires_at: Option<DateTime<Utc>>,
    /// To the minute; null while nobody has used it.
    last_used_at: Option<DateTime<Utc>>,
    /// Until when the secret before the last rotation works, too.
    previous_until: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    /// `revoked`, `leaked` or `imported`.
    revoked_reason: Option<String>,
    created_by: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// Whose rights a key carries.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiKeyOwner)]
pub struct KeyOwner {
    /// `member` or `tenant`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The member, while they are one.
    id: Option<String>,
}

impl ApiKeyBody {
    pub(super) fn of(key: ApiKey, now: DateTime<Utc>) -> Self {
        Self {
            id: key.id.to_string(),
            status: key.status(now),
            owner: KeyOwner {
                kind: key.owner.kind(),
                id: key.owner.member().map(|member| member.to_string()),
            },
            name: key.name,
            hint: key.hint,
            scopes: key.scopes.iter().map(Permission::as_str).collect(),
            allowed_addresses: key.allowed.iter().map(ToString::to_string).collect(),
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
            previous_until: key.previous_until.filter(|until| now < *until),
            revoked_at: key.revoked_at,
            revoked_reason: key.revoked_reason,
            created_by: key.created_by.to_string(),
            created_at: key.created_at,
            updated_at: key.updated_at,
        }
    }
}

/// A key that was just made or rotated.
#[derive(Serialize, ToSchema)]
pub struct MintedApiKey {
    #[serde(flatten)]
    body: ApiKeyBody,
    /// The key itself. It is shown this once.
    #[schema(example = "bh_live_…")]
    key: String,
}

impl MintedApiKey {
    pub(super) fn of(minted: Minted, now: DateTime<Utc>) -> Self {
        Self {
            body: ApiKeyBody::of(minted.key, now),
            key: minted.text,
        }
    }
}
