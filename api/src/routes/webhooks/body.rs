//! What goes over the wire about webhooks.

use bulkhead_events::EventType;
use bulkhead_webhooks::{Changes, Minted, NewWebhook, Replayed, Webhook};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// A webhook that somebody wants.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"url": "https://hooks.example/bulkhead", "description": "Billing",
    "event_types": ["member.added", "member.removed"]}))]
pub struct CreateWebhook {
    /// https or http on the public internet, port 443 or 80, up to 2048 bytes.
    url: String,
    /// Up to 200 characters.
    #[serde(default)]
    description: String,
    /// Types of `GET /webhook-event-types`; none means all, also those to come.
    #[serde(default)]
    event_types: Vec<String>,
}

impl From<CreateWebhook> for NewWebhook {
    fn from(wanted: CreateWebhook) -> Self {
        Self {
            url: wanted.url,
            description: wanted.description,
            event_types: wanted.event_types,
        }
    }
}

/// A change of a webhook; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"description": "Billing and CI", "event_types": []}))]
pub struct UpdateWebhook {
    /// What is called from now on, also for what waits.
    url: Option<String>,
    /// Up to 200 characters.
    description: Option<String>,
    /// All types it wants from now on; none means all.
    event_types: Option<Vec<String>>,
    /// False: nothing is sent any more, and what waits is given up. True: failures so far are forgotten.
    is_enabled: Option<bool>,
}

impl From<UpdateWebhook> for Changes {
    fn from(wanted: UpdateWebhook) -> Self {
        Self {
            url: wanted.url,
            description: wanted.description,
            event_types: wanted.event_types,
            is_enabled: wanted.is_enabled,
        }
    }
}

/// How a secret is to be rotated.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"overlap_secs": 86400}))]
pub struct RotateWebhookSecret {
    /// Seconds for which the secret so far signs as well, up to 30 days; 0 ends it now.
    #[serde(default = "a_day")]
    #[schema(default = 86400, minimum = 0, maximum = 2_592_000)]
    pub(super) overlap_secs: u32,
}

const fn a_day() -> u32 {
    86_400
}

/// What is to be sent again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"since": "2026-11-20T12:00:00Z"}))]
pub struct ReplayWebhook {
    /// What happened from then on and was given up.
    pub(super) since: DateTime<Utc>,
}

/// What will be sent again.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookReplay, example = json!({"webhook_id": "whk_0190a1b2c3d4e5f60718293a4b5c6d7e",
    "since": "2026-11-20T12:00:00Z", "deliveries": 3}))]
pub struct ReplayBody {
    webhook_id: String,
    since: DateTime<Utc>,
    /// How many deliveries had been given up.
    deliveries: i64,
}

impl From<Replayed> for ReplayBody {
    fn from(replayed: Replayed) -> Self {
        Self {
            webhook_id: replayed.webhook.to_string(),
            since: replayed.since,
            deliveries: replayed.n_deliveries,
        }
    }
}

/// Where the tenant is told of events.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook, example = json!({"id": "whk_0190a1b2c3d4e5f60718293a4b5c6d7e",
    "url": "https://hooks.example/bulkhead", "description": "Billing",
    "event_types": ["member.added", "member.removed"], "is_enabled": true, "disabled_reason": null,
    "previous_secret_until": null, "failing_since": null, "version": 1,
    "created_by": "usr_0190a1b2c3d4e5f60718293a4b5c6d7e", "created_at": "2026-11-20T12:00:00Z",
    "updated_at": "2026-11-20T12:00:00Z"}))]
pub struct WebhookBody {
    id: String,
    url: String,
    description: String,
    /// None means all.
    event_types: Vec<String>,
    is_enabled: bool,
    /// `disabled` by somebody, `failing` for too long, `gone` (it answered 410), or `imported` with an archive.
    disabled_reason: Option<String>,
    /// Until when the secret before signs as well.
    previous_secret_until: Option<DateTime<Utc>>,
    /// Since when it has done nothing but fail.
    failing_since: Option<DateTime<Utc>>,
    /// Rises with every change; the `ETag` is made of it.
    version: i64,
    created_by: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Webhook> for WebhookBody {
    fn from(webhook: Webhook) -> Self {
        Self {
            id: webhook.id.to_string(),
            url: webhook.url,
            description: webhook.description,
            event_types: webhook.event_types,
            is_enabled: webhook.is_enabled,
            disabled_reason: webhook.disabled_reason,
            previous_secret_until: webhook.previous_until,
            failing_since: webhook.failing_since,
            version: webhook.version,
            created_by: webhook.created_by,
            created_at: webhook.created_at,
            updated_at: webhook.updated_at,
        }
    }
}

/// A webhook with its new secret.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"id": "whk_0190a1b2c3d4e5f60718293a4b5c6d7e",
    "url": "https://hooks.example/bulkhead", "description": "Billing",
    "event_types": ["member.added", "member.removed"], "is_enabled": true, "disabled_reason": null,
    "previous_secret_until": null, "failing_since": null, "version": 1,
    "created_by": "usr_0190a1b2c3d4e5f60718293a4b5c6d7e", "created_at": "2026-11-20T12:00:00Z",
    "updated_at": "2026-11-20T12:00:00Z", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}))]
pub struct MintedWebhook {
    #[serde(flatten)]
    webhook: WebhookBody,
    /// What messages are signed with. It is shown this once.
    secret: String,
}

impl From<Minted> for MintedWebhook {
    fn from(minted: Minted) -> Self {
        Self {
            secret: minted.secret.expose().to_owned(),
            webhook: minted.webhook.into(),
        }
    }
}

/// A type of events.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookEventType, example = json!({"type": "member.removed", "description": "A person is no longer a member.",
    "schema": {"type": "object", "properties": {"id": {"type": "string", "description": "The person."}},
        "required": ["id"]}, "example": {"id": "usr_0190a1b2c3d4e5f60718293a4b5c6d7e"}}))]
pub struct EventTypeBody {
    /// `noun.participle`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// When it is sent.
    description: &'static str,
    /// What its `data` holds, as JSON Schema. More may come.
    #[schema(value_type = Object)]
    schema: Value,
    /// `data` as it may look.
    #[schema(value_type = Object)]
    example: Value,
}

impl From<EventType> for EventTypeBody {
    fn from(kind: EventType) -> Self {
        let property = |kind| match kind {
            "array" => json!({"type": "array", "items": {"type": "string"}}),
            kind => json!({ "type": kind }),
        };
        let properties: Map<String, Value> = kind
            .fields()
            .iter()
            .map(|field| {
                let mut schema = property(field.kind);
                schema["description"] = field.description.into();
                (field.name.to_owned(), schema)
            })
            .collect();
        let required: Vec<_> = kind.fields().iter().map(|field| field.name).collect();
        Self {
            kind: kind.as_str(),
            description: kind.description(),
            schema: json!({"type": "object", "properties": properties, "required": required}),
            example: kind.example(),
        }
    }
}
