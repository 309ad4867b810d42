//! Transactions on the shared schema `control`.

use sqlx::PgConnection;

use crate::{DbError, lease::Lease, slots::Slots};

/// A transaction as the login `bulkhead_control`, which reaches the schema `control` and no tenant. Dropped without
/// [`ControlTx::commit`] it is rolled back.
pub struct ControlTx(Lease);

impl ControlTx {
    pub(crate) async fn begin(slots: &Slots, statement_ms: u64) -> Result<Self, DbError> {
        let message = format!(
            "BEGIN; SET LOCAL search_path = ''; SET LOCAL statement_timeout = {statement_ms}; \
             SET LOCAL lock_timeout = 2000; SET LOCAL idle_in_transaction_session_timeout = 10000"
        );
        slots.begin(None, &message).await.map(Self)
    }

    pub(crate) const fn over(lease: Lease) -> Self {
        Self(lease)
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
