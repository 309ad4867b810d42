//! Taking all machines of a tenant away before the tenant itself goes.

use bulkhead_kernel::{clock::Clock, ids::TenantId, origin::Origin};
use bulkhead_tenancy::Db;

use super::{VmError, service::want_deleted, store};
use crate::operations;

/// Machines whose deletion is asked for in one transaction.
const BATCH: i64 = 20;

/// Asks for the deletion of some machines that nobody has asked it for yet, protected or not. Gives whether all are
/// proved gone from their providers; only then are their rows in `control.vm_work` gone as well.
#[tracing::instrument(name = "vms.remove_all", skip_all, fields(tenant.id = %tenant))]
pub async fn remove_all(db: &Db, clock: &Clock, tenant: TenantId) -> Result<bool, VmError> {
    let origin = Origin::system("purge");
    let mut tx = db.tenant_for_platform(tenant).await?;
    for id in store::list_wanted(&mut tx, BATCH).await? {
        if let Some(locked) = store::lock(&mut tx, id).await? {
            let live = operations::store::list_live(&mut tx, id).await?;
            want_deleted(&origin, &mut tx, &locked, &live, clock.now()).await?;
        }
    }
    let n_left = store::count_not_deleted(&mut tx).await?;
    tx.commit().await?;
    if n_left > 0 {
        return Ok(false);
    }
    let mut tx = db.of(tenant).await?.control().await?;
    let are_free = store::delete_work(&mut tx, tenant).await?;
    tx.commit().await?;
    Ok(are_free)
}
