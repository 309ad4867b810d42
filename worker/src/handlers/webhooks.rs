//! Webhooks.

use bulkhead_jobs::{Outcome, Run};
use bulkhead_webhooks::{
    Courier, WebhookError,
    jobs::{DeliverWebhook, ReplayWebhook},
};

pub(crate) async fn deliver(run: Run, job: DeliverWebhook, courier: Courier) -> Outcome {
    courier.deliver(&run, job).await
}

pub(crate) async fn replay(run: Run, job: ReplayWebhook) -> Result<(), WebhookError> {
    bulkhead_webhooks::replay(&run, job).await
}
