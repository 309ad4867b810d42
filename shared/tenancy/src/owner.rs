//! Transactions of the provisioner, which may create roles and schemas.

use std::{sync::Arc, time::Duration};

use bulkhead_kernel::ids::TenantId;
use sqlx::PgConnection;

use crate::{DbError, lease::Lease, schema::Logins, slots::Slots, tenant::affinity};

/// The connections of the owner.
pub(crate) struct Owners {
    pub(crate) slots: Slots,
    pub(crate) logins: Arc<Logins>,
}

impl Owners {
    /// Others beside these, so that a long piece of work leaves the usual ones to everybody else.
    pub(crate) fn another(&self, pool: &'static str, size: usize, acquire_timeout: Duration) -> Self {
        Self {
            slots: self.slots.another(pool, size, acquire_timeout),
            logins: Arc::clone(&self.logins),
        }
    }
}

/// A transaction as the owner of all schemas: onboarding and migrations, nothing else. Dropped without
/// [`OwnerTx::commit`] it is rolled back.
pub struct OwnerTx {
    lease: Lease,
    logins: Arc<Logins>,
}

impl OwnerTx {
    pub(crate) async fn begin(owners: &Owners) -> Result<Self, DbError> {
        Self::begin_with(owners, Duration::from_secs(10), Duration::from_mins(1), "").await
    }

    /// With limits of the caller's own on waiting for a lock and on a statement, and with the first statements inside.
    pub(crate) async fn begin_with(
        owners: &Owners,
        lock: Duration,
        statement: Duration,
        first: &str,
    ) -> Result<Self, DbError> {
        let message = format!(
            "BEGIN; SET LOCAL search_path = ''; SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}; \
             SET LOCAL idle_in_transaction_session_timeout = 60000; {first}",
            statement.as_millis(),
            lock.as_millis(),
        );
        Ok(Self {
            lease: owners.slots.begin(None, &message).await?,
            logins: Arc::clone(&owners.logins),
        })
    }

    pub(crate) const fn lease_mut(&mut self) -> &mut Lease {
        &mut self.lease
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

    /// Closes the connection when the transaction is over. A server process keeps what it has read of every schema for
    /// as long as it lives, so who visits thousands goes through several.
    pub(crate) const fn retire(&mut self) {
        self.lease.retire();
    }
}
