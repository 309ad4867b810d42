//! Machines whose tenant was made from an archive.
//!
//! A machine exists once and stays with the tenant it was made for. In the copy its row arrives as deleted, with an event
//! that says why, and with nothing that could lead to the provider: no plan, no reference, no row in `vm_work`.

mod store;

use bulkhead_tenancy::{DbError, OwnerTx};
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;

/// Parts all machines in the schema that the transaction has entered from their providers. What they used counts up to
/// the moment of the export. Done before: nothing.
#[must_use]
pub fn part(tx: &mut OwnerTx, exported_at: DateTime<Utc>) -> BoxFuture<'_, Result<(), DbError>> {
    Box::pin(async move {
        store::insert_events(tx, exported_at).await?;
        store::cancel_operations(tx, exported_at).await?;
        store::close_segments(tx, exported_at).await?;
        store::delete_allocations(tx).await?;
        store::set_deleted(tx, exported_at).await
    })
}
