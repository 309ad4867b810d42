//! Transactions inside a tenant.

use bulkhead_kernel::ids::TenantId;
use sqlx::PgConnection;

use crate::{DbError, DbMeter, TenantRef, lease::Lease, lineage::SERVED_VERSIONS, slots::Slots};

/// On whose behalf a tenant is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Its members': it must be active, or suspended to read-only, and is read-only then.
    Member,
    /// The platform's own work, such as an export or a purge: suspended and deleting tenants are entered as well.
    Platform,
}

/// How a tenant is entered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) access: Access,
    pub(crate) statement_ms: u64,
}

impl Entry {
    pub(crate) const fn of_platform(statement_ms: u64) -> Self {
        Self {
            access: Access::Platform,
            statement_ms,
        }
    }
}

/// A transaction that has taken the tenant's own role and sees the tenant's schema alone. There is no other way to a
/// tenant's data. Dropped without [`TenantTx::commit`] it is rolled back.
pub struct TenantTx {
    lease: Lease,
    tenant: TenantId,
    is_at_home: bool,
}

impl TenantTx {
    pub(crate) async fn begin(slots: &Slots, tenant: &TenantRef, entry: Entry) -> Result<Self, DbError> {
        if tenant.is_frozen {
            DbMeter::meet_frozen();
        }
        let message = format!("BEGIN; {}", enter_statement(tenant, entry));
        let lease = slots.begin(Some(affinity(tenant.id)), &message).await?;
        Ok(Self::over(lease, tenant.id))
    }

    pub(crate) const fn over(lease: Lease, tenant: TenantId) -> Self {
        Self {
            lease,
            tenant,
            is_at_home: false,
        }
    }

    pub(crate) const fn at_home(mut self, is_at_home: bool) -> Self {
        self.is_at_home = is_at_home;
        self
    }

    /// Whether the tables that are kept at home alone, people and memberships, are within this transaction's reach.
    #[must_use]
    pub const fn is_at_home(&self) -> bool {
        self.is_at_home
    }

    pub(crate) const fn lease_mut(&mut self) -> &mut Lease {
        &mut self.lease
    }

    /// The connection inside this transaction.
    pub fn conn(&mut self) -> &mut PgConnection {
        self.lease.conn()
    }

    /// Whose data this transaction sees.
    #[must_use]
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Makes everything done so far true, or nothing of it.
    pub async fn commit(self) -> Result<(), DbError> {
        self.lease.commit().await
    }
}

/// The call that enters a tenant for the rest of the transaction it runs in.
pub(crate) fn enter_statement(tenant: &TenantRef, entry: Entry) -> String {
    format!(
        "SELECT control.enter_tenant('{}'::uuid, {}, {}, {}, {}, {})",
        tenant.id.uuid(),
        tenant.epoch,
        entry.statement_ms,
        SERVED_VERSIONS.start(),
        SERVED_VERSIONS.end(),
        entry.access == Access::Platform,
    )
}

/// Spreads tenants evenly over connections: the random half of a UUIDv7.
pub(crate) const fn affinity(tenant: TenantId) -> u64 {
    tenant.uuid().as_u64_pair().1
}
