//! Sending again all that failed since a time.

use bulkhead_events::jobs::DeliverWebhook;
use bulkhead_iam::{Scope, permissions::Permission};
use bulkhead_jobs::Run;
use bulkhead_kernel::ids::WebhookId;
use bulkhead_tenancy::TenantTx;
use chrono::{DateTime, Utc};
use tracing::instrument;

use crate::{
    Replayed, WebhookError,
    idempotency::{Key, ReplayedAnswer},
    jobs::ReplayWebhook,
    service::lock_enabled,
    store::deliveries,
};

/// Deliveries that begin anew in one transaction.
const BATCH: i64 = 100;

/// Sends again what was given up of what happened since a time, each under the same id. A job does it.
#[instrument(name = "webhooks.replay", skip_all)]
pub async fn replay_since(
    scope: &Scope,
    tx: &mut TenantTx,
    id: WebhookId,
    since: DateTime<Utc>,
    key: Option<&str>,
) -> Result<Replayed, WebhookError> {
    scope.require(Permission::WebhookManage)?;
    let key = Key::new(scope, ("POST /webhooks/{id}/replay", 202), key, &(id, since))?;
    lock_enabled(tx, id).await?;
    if let Some(key) = &key
        && let Some(earlier) = key.claim::<ReplayedAnswer>(tx).await?
    {
        return Ok(earlier.into());
    }
    let until = scope.clock.now();
    let replayed = Replayed {
        webhook: id,
        since,
        n_deliveries: deliveries::count_failed(tx, id, since, until).await?,
    };
    let job = ReplayWebhook {
        webhook_id: id,
        since,
        until,
    };
    bulkhead_jobs::enqueue(&scope.origin, tx, &job).await?;
    let event = scope.event("webhook.replay").on("webhook", id);
    let event = event.change("since", (), since.to_rfc3339());
    bulkhead_audit::record(tx, event).await?;
    if let Some(key) = &key {
        key.keep(tx, id, &ReplayedAnswer::from(replayed)).await?;
    }
    Ok(replayed)
}

/// Carries it out, batch by batch. Killed anywhere, the next attempt finds what is left.
#[instrument(name = "webhooks.replay_batches", skip_all)]
pub async fn replay(run: &Run, job: ReplayWebhook) -> Result<(), WebhookError> {
    loop {
        let mut tx = run.tenant_tx().await?;
        let span = (job.since, job.until);
        let begun = deliveries::begin_rounds(&mut tx, job.webhook_id, span, run.clock.now(), BATCH).await?;
        for &(message_id, round) in &begun {
            let again = DeliverWebhook {
                webhook_id: job.webhook_id,
                message_id,
                round,
            };
            bulkhead_jobs::enqueue(&run.origin, &mut tx, &again).await?;
        }
        run.commit(tx).await?;
        if begun.is_empty() {
            return Ok(());
        }
    }
}
