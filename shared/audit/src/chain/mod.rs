//! The chain: every sealed row has a number and the hash of the row before it, and its own hash is over both and over all
//! that it says.
//!
//! - The order is that of sealing. A row is sealed when its transaction has committed, so no gap is ever waited for, and a
//!   row that commits late comes later.
//! - One worker at a time seals a tenant, under the lock of its head. Killed anywhere, the next one goes on: rows, head and
//!   what waited for sealing change in one transaction.
//! - Nothing of the tenant's id is in a hash: an archive of the tenant carries its chain along.
//!
//! Absent: clocks, signatures and files.

mod model;
mod store;
mod verify;

use bulkhead_kernel::ids::TenantId;
use bulkhead_tenancy::{ControlTx, DbError, OwnerTx, TenantTx};
use chrono::{DateTime, Utc};

pub use model::{Anchor, Head, Row, SealedRow};
pub use verify::{Flaw, Reason, Walk};

/// Rows sealed, removed or looked at in one statement.
pub const BATCH: i64 = 1_000;

/// Tenants after this one, in the order of their ids, for which something waits to be sealed.
pub async fn list_waiting(tx: &mut ControlTx, after: Option<TenantId>, limit: i64) -> Result<Vec<TenantId>, DbError> {
    store::list_waiting(tx, after, limit).await
}

/// Moves what waits for the tenant into its log and seals all that is there; gives how many rows. Nothing when somebody
/// else is at it.
pub async fn seal(tx: &mut OwnerTx, tenant: TenantId) -> Result<u64, DbError> {
    let Some(mut head) = lock_head(tx, tenant).await? else {
        return Ok(0);
    };
    store::move_waiting(tx, tenant).await?;
    let mut n_sealed = 0;
    // Goes on behind what it has just sealed, over which an index would lead it again; in the end looks once more for what
    // was committed meanwhile.
    let mut after = None;
    loop {
        let rows = store::list_unsealed(tx, after, BATCH).await?;
        if rows.is_empty() && after.is_none() {
            break;
        }
        after = rows.last().map(|row| (row.at, row.id));
        let seals: Vec<SealedRow> = rows.into_iter().map(|row| head.extend(row)).collect();
        store::set_sealed(tx, &seals).await?;
        n_sealed += seals.len() as u64;
    }
    store::set_head(tx, tenant, &head).await?;
    Ok(n_sealed)
}

/// The end of the tenant's chain, kept to this transaction, whose path becomes the tenant's. `None` while somebody else
/// keeps it. A tenant that came out of an archive goes on where its rows end.
pub async fn lock_head(tx: &mut OwnerTx, tenant: TenantId) -> Result<Option<Head>, DbError> {
    let is_new = store::insert_head(tx, tenant).await?;
    let Some(mut head) = store::lock_head(tx, tenant).await? else {
        return Ok(None);
    };
    tx.enter_tenant_schema(tenant).await?;
    if is_new && let Some((first, last)) = store::find_ends(tx).await? {
        head.base = Anchor {
            seq: first.seq - 1,
            hash: first.prev_hash,
        };
        head.oldest_at = Some(first.row.at);
        head.end = last;
        store::set_head(tx, tenant, &head).await?;
    }
    Ok(Some(head))
}

/// The end of the tenant's chain as it is; `None` before anything was sealed.
pub async fn find_head(tx: &mut ControlTx, tenant: TenantId) -> Result<Option<Head>, DbError> {
    store::find_head(tx, tenant).await
}

/// Tenants whose chain is longer than their newest checkpoint says, which is older than `before`.
pub async fn list_unattested(
    tx: &mut ControlTx,
    before: DateTime<Utc>,
    after: Option<TenantId>,
    limit: i64,
) -> Result<Vec<TenantId>, DbError> {
    store::list_unattested(tx, before, after, limit).await
}

/// Notes that a checkpoint says where the chain ends now.
pub async fn set_attested(tx: &mut OwnerTx, tenant: TenantId, seq: i64, at: DateTime<Utc>) -> Result<(), DbError> {
    store::set_attested(tx, tenant, seq, at).await
}

/// Tenants whose oldest row is older than they want to keep it.
pub async fn list_overdue(
    tx: &mut ControlTx,
    now: DateTime<Utc>,
    usual_days: i32,
    after: Option<TenantId>,
    limit: i64,
) -> Result<Vec<(TenantId, DateTime<Utc>)>, DbError> {
    store::list_overdue(tx, now, usual_days, after, limit).await
}

/// The last row of those that may go: rows from the front on that are older than `cutoff`, at most [`BATCH`].
pub async fn find_trim(tx: &mut OwnerTx, cutoff: DateTime<Utc>) -> Result<Option<Anchor>, DbError> {
    store::find_trim(tx, cutoff, BATCH).await
}

/// Removes the rows up to this one; the chain begins after it.
pub async fn trim(tx: &mut OwnerTx, tenant: TenantId, head: &Head, base: &Anchor) -> Result<u64, DbError> {
    let n_removed = store::delete_front(tx, base.seq).await?;
    let head = Head {
        base: base.clone(),
        oldest_at: store::find_oldest(tx).await?,
        ..head.clone()
    };
    store::set_head(tx, tenant, &head).await?;
    Ok(n_removed)
}

/// Sealed rows after this place, in the order of the chain, at most [`BATCH`].
pub async fn list_sealed(tx: &mut TenantTx, after: i64) -> Result<Vec<SealedRow>, DbError> {
    store::list_sealed(tx, after, BATCH).await
}
