//! One look at a tenant and at its rows in `control`, as they were at the same moment.

use std::time::Duration;

use bulkhead_kernel::ids::TenantId;
use sqlx::{AssertSqlSafe, Executor};

use crate::{
    ControlTx, Db, DbError, TenantRef, TenantSelector, TenantTx,
    slots::Slots,
    tenant::{Entry, affinity, enter_statement},
};

/// How long a transaction of a snapshot may wait for its caller, who writes what it reads to a disk.
const PATIENCE_MS: u64 = 300_000;

/// Two read-only transactions that see the same state of the database; for a tenant of another cluster, of two databases.
pub struct Snapshot {
    /// The schema `control`. It may be ended first; the other goes on seeing what it saw.
    pub control: ControlTx,
    /// The tenant, also while it is suspended.
    pub tenant: TenantTx,
}

impl Db {
    /// A snapshot for the platform's own work. A statement in it may take as long as `patience`.
    pub async fn snapshot(&self, tenant: TenantId, patience: Duration) -> Result<Snapshot, DbError> {
        let known = self.resolve(&TenantSelector::Id(tenant)).await?;
        match self.snapshot_of(&known, patience).await {
            Err(error) if known.has_left(&error) => {
                let current = self.resolve_anew(tenant).await?;
                self.snapshot_of(&current, patience).await
            }
            result => result,
        }
    }

    async fn snapshot_of(&self, tenant: &TenantRef, patience: Duration) -> Result<Snapshot, DbError> {
        let tenants = self.tenant_slots(tenant)?;
        let mut control = ControlTx::begin_snapshot(self.control_slots(), patience).await?;
        if tenant.cluster.is_some() {
            // No snapshot reaches over two databases: what control says is a moment older.
            let tenant = TenantTx::begin_in_snapshot(&tenants, tenant, None, patience).await?;
            return Ok(Snapshot { control, tenant });
        }
        // The control login makes the snapshot and the tenant's takes it over, so that no tenant role needs the right.
        let id = sqlx::query_scalar!(
            r#"
            SELECT pg_export_snapshot() AS "id!"
            "#,
        )
        .fetch_one(control.conn())
        .await?;
        let tenant = TenantTx::begin_in_snapshot(&tenants, tenant, Some(&id), patience).await?;
        Ok(Snapshot { control, tenant })
    }
}

impl TenantTx {
    async fn begin_in_snapshot(
        slots: &Slots,
        tenant: &TenantRef,
        snapshot: Option<&str>,
        patience: Duration,
    ) -> Result<Self, DbError> {
        let entry = Entry::of_platform(millis(patience));
        let taken_over = snapshot.map_or_else(String::new, |id| format!("SET TRANSACTION SNAPSHOT '{id}';"));
        let message = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {taken_over} {}",
            enter_statement(tenant, entry)
        );
        let lease = slots.begin(Some(affinity(tenant.id)), &message).await?;
        let mut tx = Self::over(lease, tenant.id);
        let idle = format!("SET LOCAL idle_in_transaction_session_timeout = {PATIENCE_MS}");
        tx.conn().execute(sqlx::raw_sql(AssertSqlSafe(idle))).await?;
        Ok(tx)
    }
}

impl ControlTx {
    async fn begin_snapshot(slots: &Slots, patience: Duration) -> Result<Self, DbError> {
        let message = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = ''; \
             SET LOCAL statement_timeout = {}; SET LOCAL idle_in_transaction_session_timeout = {PATIENCE_MS}",
            millis(patience)
        );
        slots.begin(None, &message).await.map(Self::over)
    }
}

pub(crate) fn millis(patience: Duration) -> u64 {
    patience.as_millis().try_into().unwrap_or(PATIENCE_MS)
}
