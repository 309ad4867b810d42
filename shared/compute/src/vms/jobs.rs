//! The hint that a VM is due.

use bulkhead_jobs::Job;
use bulkhead_kernel::ids::{TenantId, VmId};
use serde::{Deserialize, Serialize};

/// Look at this VM now rather than at the next poll. Losing, repeating or exhausting it changes nothing:
/// `control.vm_work` is the truth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconcileVm {
    /// Which VM of the job's tenant.
    pub vm_id: VmId,
}

impl Job for ReconcileVm {
    const KIND: &'static str = "vms.reconcile";
    const MAX_ATTEMPTS: u16 = 3;

    fn may_belong_to(&self, tenant: Option<TenantId>) -> bool {
        tenant.is_some()
    }
}
