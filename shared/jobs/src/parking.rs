//! Jobs of tenants that are closed wait without being looked at.

use bulkhead_kernel::ids::TenantId;
use bulkhead_tenancy::{ControlTx, DbError};

use crate::store;

/// Jobs parked or freed in one transaction.
const BATCH: u16 = 5_000;

/// Takes a batch of the tenant's waiting jobs out of the workers' sight, or puts it back. `false` when none is left to
/// change. Workers hear of freed jobs with the commit.
pub async fn park(tx: &mut ControlTx, tenant: TenantId, is_parked: bool) -> Result<bool, DbError> {
    let n_changed = store::set_parked(tx.conn(), tenant, is_parked, BATCH.into()).await?;
    if n_changed > 0 && !is_parked {
        store::notify(tx.conn()).await?;
    }
    Ok(n_changed == u64::from(BATCH))
}
