//! Transactions of the provisioner, which may create roles and schemas.

use std::sync::Arc;

use bulkhead_kernel::ids::TenantId;
use sqlx::PgConnection;

use crate::{
    DbError,
    schema::Logins,
    slots::{Lease, Slots},
    tenant::affinity,
};

/// A transaction as the owner of all schemas: onboarding and migrations, nothing else. Dropped without
/// [`OwnerTx::commit`] it is rolled back.
pub struct OwnerTx {
    lease: Lease,
    logins: Arc<Logins>,
}

impl OwnerTx {
    pub(crate) async fn begin(slots: &Slots, logins: &Arc<Logins>) -> Result<Self, DbError> {
        const MESSAGE: &str = "BEGIN; SET LOCAL search_path = ''; SET LOCAL statement_timeout = 60000; \
                               SET LOCAL lock_timeout = 10000; SET LOCAL idle_in_transaction_session_timeout = 60000";
        let lease = slots.begin(None, MESSAGE).await?;
        Ok(Self {
            lease,
            logins: Arc::clone(logins),
        })
    }

    /// The connection inside this transaction.
    pub fn conn(&mut self) -> &mut PgConnection {
        self.lease.conn()
    }

    pub(crate) fn logins(&self) -> Arc<Logins> {
        Arc::clone(&self.logins)
    }

    /// The server process is about to learn this tenant's catalog.
    pub(crate) fn meet(&mut self, tenant: TenantId) {
        self.lease.meet(affinity(tenant));
    }

    /// Makes everything done so far true, or nothing of it.
    pub async fn commit(self) -> Result<(), DbError> {
        self.lease.commit().await
    }
}
