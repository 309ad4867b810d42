//! The only ways to make a job, both inside the transaction of its cause.

use bulkhead_kernel::{
    ids::{JobId, TenantId},
    origin::Origin,
};
use bulkhead_tenancy::{ControlTx, DbError, OwnerTx, TenantTx};

use crate::{
    Job,
    store::{self, NewJob},
};

/// Whose work it is. There is no default, so that no job loses its tenant by forgetting it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A tenant, active or not.
    Tenant(TenantId),
    /// The platform itself; such a job cannot enter a tenant.
    Platform,
}

impl Owner {
    const fn tenant(self) -> Option<TenantId> {
        match self {
            Self::Tenant(tenant) => Some(tenant),
            Self::Platform => None,
        }
    }
}

/// Enqueues for the tenant of `tx`, which the database itself takes from the role. `None` when a waiting or running job
/// already has the unique key.
pub async fn enqueue<J: Job>(origin: &Origin, tx: &mut TenantTx, job: &J) -> Result<Option<JobId>, DbError> {
    store::insert_own(tx.conn(), &NewJob::of(origin, job)?).await
}

/// Enqueues from the shared schema, where the tenant may not be active yet. `None` when a waiting or running job
/// already has the unique key.
pub async fn enqueue_for<J: Job>(
    origin: &Origin,
    tx: &mut ControlTx,
    owner: Owner,
    job: &J,
) -> Result<Option<JobId>, DbError> {
    store::insert(tx.conn(), owner.tenant(), &NewJob::of(origin, job)?).await
}

/// [`enqueue_for`] in a transaction of the provisioner.
pub async fn enqueue_as_owner<J: Job>(
    origin: &Origin,
    tx: &mut OwnerTx,
    owner: Owner,
    job: &J,
) -> Result<Option<JobId>, DbError> {
    store::insert(tx.conn(), owner.tenant(), &NewJob::of(origin, job)?).await
}
