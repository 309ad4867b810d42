//! Transactions of the provisioner, which may create roles and schemas.

use sqlx::PgConnection;

use crate::{
    DbError,
    slots::{Lease, Slots},
};

/// A transaction as the owner of all schemas: onboarding and migrations, nothing else. Dropped without
/// [`OwnerTx::commit`] it is rolled back.
pub struct OwnerTx(Lease);

impl OwnerTx {
    pub(crate) async fn begin(slots: &Slots) -> Result<Self, DbError> {
        const MESSAGE: &str = "BEGIN; SET LOCAL search_path = ''; SET LOCAL statement_timeout = 60000; \
                               SET LOCAL lock_timeout = 10000; SET LOCAL idle_in_transaction_session_timeout = 60000";
        slots.begin(None, MESSAGE).await.map(Self)
    }

    /// The connection inside this transaction.
    pub fn conn(&mut self) -> &mut PgConnection {
        self.0.conn()
    }

    /// Makes everything done so far true, or nothing of it.
    pub async fn commit(self) -> Result<(), DbError> {
        self.0.commit().await
    }
}
