//! The background work of webhooks besides [`DeliverWebhook`].

use bulkhead_jobs::{Job, Queue};
use bulkhead_kernel::ids::{TenantId, WebhookId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use bulkhead_events::jobs::DeliverWebhook;

/// Sends again what failed at one webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayWebhook {
    /// Whom.
    pub webhook_id: WebhookId,
    /// What happened from then on.
    pub since: DateTime<Utc>,
    /// And until then.
    pub until: DateTime<Utc>,
}

impl Job for ReplayWebhook {
    const KIND: &'static str = "webhooks.replay";
    const QUEUE: Queue = Queue::Maintenance;

    fn may_belong_to(&self, tenant: Option<TenantId>) -> bool {
        tenant.is_some()
    }

    fn unique_key(&self) -> Option<String> {
        Some(format!("{}:{}", self.webhook_id, self.until.timestamp_micros()))
    }
}
