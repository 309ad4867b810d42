//! What can be done with the record.

use bulkhead_tenancy::{DbError, TenantTx};
use tracing::instrument;

use crate::{Event, store};

/// Adds the event to the tenant's record; it commits with the transaction.
#[instrument(skip_all)]
pub async fn record(tx: &mut TenantTx, event: Event) -> Result<(), DbError> {
    store::insert(tx, &event).await
}
