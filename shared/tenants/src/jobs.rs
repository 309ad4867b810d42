//! The background work of tenants.

use bulkhead_jobs::{Job, Queue};
use bulkhead_kernel::ids::{IdentityId, MigrationRunId, MoveId, TenantId};
use serde::{Deserialize, Serialize};

/// Builds a pending tenant's compartment and opens it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct OnboardTenant {
    /// Whom to build for.
    pub tenant: TenantId,
    /// Who becomes its owner.
    pub owner: IdentityId,
}

impl Job for OnboardTenant {
    const KIND: &'static str = "tenants.onboard";
    const QUEUE: Queue = Queue::Provision;
    const MAX_ATTEMPTS: u16 = 20;
    const IS_VISIBLE: bool = true;

    fn unique_key(&self) -> Option<String> {
        Some(self.tenant.to_string())
    }

    fn may_belong_to(&self, tenant: Option<TenantId>) -> bool {
        tenant == Some(self.tenant)
    }
}

/// Carries a migration of the fleet out. Several for one run do no harm: the run's lease lets one work.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct RunMigrations {
    /// Which one.
    pub run: MigrationRunId,
}

impl Job for RunMigrations {
    const KIND: &'static str = "migrations.run";
    const QUEUE: Queue = Queue::Maintenance;
    const MAX_ATTEMPTS: u16 = 20;

    fn may_belong_to(&self, tenant: Option<TenantId>) -> bool {
        tenant.is_none()
    }
}

/// Carries a move out, from wherever it is. Several for one move do no harm: each step is held by one.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct MoveTenant {
    /// Which one.
    pub id: MoveId,
}

impl Job for MoveTenant {
    const KIND: &'static str = "tenants.move";
    const QUEUE: Queue = Queue::Maintenance;
    const MAX_ATTEMPTS: u16 = 20;

    fn unique_key(&self) -> Option<String> {
        Some(self.id.to_string())
    }

    fn may_belong_to(&self, tenant: Option<TenantId>) -> bool {
        tenant.is_none()
    }
}
