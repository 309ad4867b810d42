//! What a handler is given besides its payload.

use bulkhead_kernel::{
    clock::Clock,
    ids::{JobId, LeaseToken, TenantId},
    origin::Origin,
};
use bulkhead_tenancy::{ControlTx, Db, DbError, OwnerTx, TenantTx};

use crate::store;

/// One attempt at one job. Effects belong in a transaction that [`Run::commit`] ends, or that calls one of the `hold`
/// functions last before its own commit: then they happen only while this attempt still holds the job.
#[derive(Clone)]
pub struct Run {
    /// The job.
    pub job: JobId,
    /// The name of its type.
    pub kind: &'static str,
    /// Counts from 1.
    pub attempt: u16,
    /// Whether no attempt follows this one.
    pub is_last_attempt: bool,
    /// Who caused it, to be handed on to whatever the handler causes.
    pub origin: Origin,
    /// Whose work it is; `None` is the platform's own.
    pub tenant: Option<TenantId>,
    /// The time.
    pub clock: Clock,
    pub(crate) db: Db,
    pub(crate) token: LeaseToken,
}

impl Run {
    /// A transaction inside the tenant of the job. A job of the platform has none and gets
    /// [`DbError::TenantNotFound`].
    pub async fn tenant_tx(&self) -> Result<TenantTx, DbError> {
        let tenant = self.tenant.ok_or(DbError::TenantNotFound)?;
        self.db.tenant(tenant).await
    }

    /// Commits, unless another attempt has the job by now: then [`DbError::LeaseLost`], and `tx` is undone.
    pub async fn commit(&self, mut tx: TenantTx) -> Result<(), DbError> {
        self.hold(&mut tx).await?;
        tx.commit().await
    }

    /// Keeps the job's lease until `tx` ends; [`DbError::LeaseLost`] when another attempt has it by now. Called last,
    /// since the job cannot be finished or given away meanwhile.
    pub async fn hold(&self, tx: &mut TenantTx) -> Result<(), DbError> {
        store::hold(tx.conn(), self.job, self.token).await
    }

    /// [`Run::hold`] for a transaction on the shared schema.
    pub async fn hold_control(&self, tx: &mut ControlTx) -> Result<(), DbError> {
        store::hold(tx.conn(), self.job, self.token).await
    }

    /// [`Run::hold`] for a transaction of the provisioner.
    pub async fn hold_owner(&self, tx: &mut OwnerTx) -> Result<(), DbError> {
        store::hold(tx.conn(), self.job, self.token).await
    }

    /// The database, for work outside the tenant of the job.
    #[must_use]
    pub const fn db(&self) -> &Db {
        &self.db
    }
}
