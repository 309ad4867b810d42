//! The background work of members.

use bulkhead_jobs::Job;
use bulkhead_kernel::ids::{IdentityId, TenantId};
use serde::{Deserialize, Serialize};

/// Copies a person's names into the job's tenant, as they are when it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyNames {
    /// Whose.
    pub identity: IdentityId,
}

impl Job for CopyNames {
    const KIND: &'static str = "members.copy_names";
    const MAX_ATTEMPTS: u16 = 20;

    fn may_belong_to(&self, tenant: Option<TenantId>) -> bool {
        tenant.is_some()
    }
}
