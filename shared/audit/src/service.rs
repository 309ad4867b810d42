//! What can be done with the record.

use bulkhead_kernel::ids::TenantId;
use bulkhead_tenancy::{ControlTx, DbError, OwnerTx, TenantTx};
use tracing::instrument;
use uuid::Uuid;

use crate::{
    Entry, Event, Filter, Part,
    store::{self, platform},
};

/// Adds the event to the tenant's record; it commits with the transaction.
#[instrument(skip_all)]
pub async fn record(tx: &mut TenantTx, event: Event) -> Result<(), DbError> {
    store::insert(tx, Uuid::now_v7(), &event).await?;
    Ok(())
}

/// The same under an id of the caller's. Recorded before under this id: nothing.
#[instrument(skip_all)]
pub async fn record_once(tx: &mut TenantTx, id: Uuid, event: Event) -> Result<(), DbError> {
    store::insert(tx, id, &event).await
}

/// Records what happens to the tenant in `control`; it commits with the transaction and is in the tenant's log when the
/// worker has sealed it. What an operator does is in the platform's log at once, too.
#[instrument(skip_all)]
pub async fn record_for(tx: &mut ControlTx, tenant: TenantId, event: Event) -> Result<(), DbError> {
    store::insert_waiting(tx.conn(), tenant, &event).await?;
    if event.is_of_operator() {
        platform::insert(tx, &event.about(tenant)).await?;
    }
    Ok(())
}

/// Records what is done with the platform as such; it commits with the transaction.
#[instrument(skip_all)]
pub async fn record_of_platform(tx: &mut ControlTx, event: Event) -> Result<(), DbError> {
    platform::insert(tx, &event).await
}

/// A part of the platform's log, as [`list`].
#[instrument(skip_all)]
pub async fn list_of_platform(
    tx: &mut ControlTx,
    filter: &Filter,
    part: Part,
) -> Result<(Vec<Entry>, Option<i64>), DbError> {
    let entries = platform::list(tx, filter, part).await?;
    let total = match part {
        Part::Page(_) => Some(platform::count(tx, filter).await?),
        Part::After(..) => None,
    };
    Ok((entries, total))
}

/// [`record_for`] in a transaction of the provisioner.
#[instrument(skip_all)]
pub async fn record_as_owner(tx: &mut OwnerTx, tenant: TenantId, event: Event) -> Result<(), DbError> {
    store::insert_waiting(tx.conn(), tenant, &event).await
}

/// A part of the log, the newest entry first, and how many there are in all where a page was asked for.
#[instrument(skip_all)]
pub async fn list(tx: &mut TenantTx, filter: &Filter, part: Part) -> Result<(Vec<Entry>, Option<i64>), DbError> {
    let entries = store::list(tx, filter, part).await?;
    let total = match part {
        Part::Page(_) => Some(store::count(tx, filter).await?),
        Part::After(..) => None,
    };
    Ok((entries, total))
}

/// How many entries wait to be sealed.
pub async fn count_unsealed(tx: &mut TenantTx) -> Result<i64, DbError> {
    store::count_unsealed(tx).await
}

/// Removes what waits for tenants that are gone, and says how many rows that were.
pub async fn delete_orphans(tx: &mut ControlTx) -> Result<u64, DbError> {
    store::delete_orphans(tx).await
}
