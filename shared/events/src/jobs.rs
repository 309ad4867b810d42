//! The background work that an event causes.

use bulkhead_jobs::Job;
use bulkhead_kernel::ids::{MessageId, TenantId, WebhookId};
use serde::{Deserialize, Serialize};

/// Tells one webhook of one event. The job lives until that has worked or is given up: between attempts it is put off,
/// which costs none of its own attempts; those are for troubles of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliverWebhook {
    /// Whom.
    pub webhook_id: WebhookId,
    /// Of what.
    pub message_id: MessageId,
    /// How often it was sent again; a job of an earlier round does nothing.
    pub round: i32,
}

impl Job for DeliverWebhook {
    const KIND: &'static str = "webhooks.deliver";
    const MAX_ATTEMPTS: u16 = 100;

    fn may_belong_to(&self, tenant: Option<TenantId>) -> bool {
        tenant.is_some()
    }

    fn unique_key(&self) -> Option<String> {
        Some(format!("{}:{}:{}", self.webhook_id, self.message_id, self.round))
    }
}
