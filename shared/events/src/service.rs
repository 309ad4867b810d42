//! Telling.

use bulkhead_kernel::{ids::MessageId, origin::Origin};
use bulkhead_tenancy::{DbError, TenantTx};
use chrono::{DateTime, Utc};
use tracing::instrument;

use crate::{Event, EventType, jobs::DeliverWebhook, store};

/// Writes the event and its deliveries if a webhook of the tenant wants it; they commit with the transaction.
#[instrument(skip_all)]
pub async fn emit(origin: &Origin, tx: &mut TenantTx, at: DateTime<Utc>, event: &Event) -> Result<(), DbError> {
    let message_id = MessageId::new();
    for webhook_id in store::insert(tx, message_id, event, at).await? {
        let job = DeliverWebhook {
            webhook_id,
            message_id,
            round: 0,
        };
        bulkhead_jobs::enqueue(origin, tx, &job).await?;
    }
    Ok(())
}

/// Whether a webhook of the tenant wants events of this type: for callers whose events take effort to put together.
pub async fn is_wanted(tx: &mut TenantTx, kind: EventType) -> Result<bool, DbError> {
    store::is_wanted(tx, kind).await
}
