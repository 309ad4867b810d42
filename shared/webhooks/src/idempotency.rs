//! Calls under an `Idempotency-Key`: the answer is stored in the transaction of the change, so that a repeated request meets
//! either both or neither. A secret in an answer is kept as in its row, wrapped.

use base64::{Engine, engine::general_purpose::STANDARD};
use bulkhead_iam::{Scope, idempotency::Keyed};
use bulkhead_kernel::ids::{MessageId, WebhookId};
use bulkhead_tenancy::TenantTx;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    WebhookError, Webhooks,
    model::{Delivery, Minted, Replayed, State, Webhook},
    secret::SigningSecret,
};

/// A caller's key, and what it was sent with.
pub(crate) struct Key<'a> {
    scope: &'a Scope,
    request: Keyed<'a>,
    status: i16,
}

impl<'a> Key<'a> {
    /// `None` for a request without a key.
    pub(crate) fn new(
        scope: &'a Scope,
        (route, status): (&'static str, i16),
        key: Option<&str>,
        body: &impl Serialize,
    ) -> Result<Option<Self>, WebhookError> {
        let Some(key) = key else { return Ok(None) };
        let request = Keyed::new(&scope.origin.principal, route, key, body)?;
        Ok(Some(Self { scope, request, status }))
    }

    /// Takes the key for this transaction, or gives the answer it once led to. Waits for a request under the same key
    /// that is still running.
    pub(crate) async fn claim<T: DeserializeOwned>(&self, tx: &mut TenantTx) -> Result<Option<T>, WebhookError> {
        Ok(self.request.claim(tx, self.status, self.scope.clock.now()).await?)
    }

    /// Stores what the key led to.
    pub(crate) async fn keep(
        &self,
        tx: &mut TenantTx,
        webhook: WebhookId,
        answer: &impl Serialize,
    ) -> Result<(), WebhookError> {
        let location = format!("/api/v1/webhooks/{webhook}");
        Ok(self.request.keep(tx, &location, answer).await?)
    }
}

/// A webhook as it was answered, with its secret wrapped.
#[derive(Serialize, Deserialize)]
pub(crate) struct MintedAnswer {
    id: WebhookId,
    url: String,
    description: String,
    event_types: Vec<String>,
    is_enabled: bool,
    disabled_reason: Option<String>,
    sealed: String,
    previous_until: Option<DateTime<Utc>>,
    failing_since: Option<DateTime<Utc>>,
    version: i64,
    created_by: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl MintedAnswer {
    pub(crate) fn new(webhook: &Webhook, sealed: &[u8]) -> Self {
        let webhook = webhook.clone();
        Self {
            id: webhook.id,
            url: webhook.url,
            description: webhook.description,
            event_types: webhook.event_types,
            is_enabled: webhook.is_enabled,
            disabled_reason: webhook.disabled_reason,
            sealed: STANDARD.encode(sealed),
            previous_until: webhook.previous_until,
            failing_since: webhook.failing_since,
            version: webhook.version,
            created_by: webhook.created_by,
            created_at: webhook.created_at,
            updated_at: webhook.updated_at,
        }
    }

    /// An answer that came with an archive does not open here; its key counts as used.
    pub(crate) fn open(self, webhooks: &Webhooks, tx: &TenantTx) -> Result<Minted, WebhookError> {
        let sealed = STANDARD.decode(&self.sealed).unwrap_or_default();
        let secret = SigningSecret::open(&webhooks.vault, tx.tenant(), self.id, &sealed);
        let secret = secret.map_err(|_| WebhookError::IdempotencyKeyReused)?.text();
        let webhook = Webhook {
            id: self.id,
            url: self.url,
            description: self.description,
            event_types: self.event_types,
            is_enabled: self.is_enabled,
            disabled_reason: self.disabled_reason,
            has_secret: true,
            previous_until: self.previous_until,
            failing_since: self.failing_since,
            version: self.version,
            created_by: self.created_by,
            created_at: self.created_at,
            updated_at: self.updated_at,
        };
        Ok(Minted { webhook, secret })
    }
}

/// A delivery as it was answered.
#[derive(Serialize, Deserialize)]
pub(crate) struct DeliveryAnswer {
    webhook: WebhookId,
    message: MessageId,
    kind: String,
    data: Value,
    occurred_at: DateTime<Utc>,
    round: i32,
    n_attempts: i32,
    next_attempt_at: Option<DateTime<Utc>>,
}

impl From<&Delivery> for DeliveryAnswer {
    fn from(delivery: &Delivery) -> Self {
        let delivery = delivery.clone();
        Self {
            webhook: delivery.webhook,
            message: delivery.message,
            kind: delivery.kind,
            data: delivery.data,
            occurred_at: delivery.occurred_at,
            round: delivery.round,
            n_attempts: delivery.n_attempts,
            next_attempt_at: delivery.next_attempt_at,
        }
    }
}

/// What is answered is always pending.
impl From<DeliveryAnswer> for Delivery {
    fn from(answer: DeliveryAnswer) -> Self {
        Self {
            webhook: answer.webhook,
            message: answer.message,
            kind: answer.kind,
            data: answer.data,
            occurred_at: answer.occurred_at,
            state: State::Pending,
            round: answer.round,
            n_attempts: answer.n_attempts,
            next_attempt_at: answer.next_attempt_at,
            finished_at: None,
        }
    }
}

/// What was to be sent again, as it was answered.
#[derive(Serialize, Deserialize)]
pub(crate) struct ReplayedAnswer {
    webhook: WebhookId,
    since: DateTime<Utc>,
    n_deliveries: i64,
}

impl From<Replayed> for ReplayedAnswer {
    fn from(replayed: Replayed) -> Self {
        Self {
            webhook: replayed.webhook,
            since: replayed.since,
            n_deliveries: replayed.n_deliveries,
        }
    }
}

impl From<ReplayedAnswer> for Replayed {
    fn from(answer: ReplayedAnswer) -> Self {
        Self {
            webhook: answer.webhook,
            since: answer.since,
            n_deliveries: answer.n_deliveries,
        }
    }
}
