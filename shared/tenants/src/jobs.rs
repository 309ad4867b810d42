//! The background work of tenants.

use bulkhead_jobs::{Job, Queue};
use bulkhead_kernel::ids::{IdentityId, TenantId};
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

    fn unique_key(&self) -> Option<String> {
        Some(self.tenant.to_string())
    }

    fn may_belong_to(&self, tenant: Option<TenantId>) -> bool {
        tenant == Some(self.tenant)
    }
}
