//! `POST /vms` under an `Idempotency-Key`: the answer is stored in the transaction of the change, so that a repeated
//! request meets either both or neither.

use bulkhead_iam::idempotency::Keyed;
use bulkhead_kernel::ids::{OperationId, VmId};
use bulkhead_tenancy::TenantTx;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Accepted, NewVm, Phase, Status, Vm, VmError};

/// A caller's key, and what it was sent with.
pub(super) struct Key<'a>(Keyed<'a>);

impl<'a> Key<'a> {
    pub(super) fn new(principal: &'a str, key: &str, new: &NewVm) -> Result<Self, VmError> {
        let body = (
            &new.name,
            &new.source_type,
            &new.template_id,
            &new.iso_url,
            new.cpu,
            new.memory_gb,
            new.disk_gb,
        );
        Ok(Self(Keyed::new(principal, "POST /vms", key, &body)?))
    }

    /// Takes the key for this transaction, or gives the answer it once led to. Waits for a request under the same key
    /// that is still running.
    pub(super) async fn claim(&self, tx: &mut TenantTx, now: DateTime<Utc>) -> Result<Option<Accepted>, VmError> {
        let earlier = self.0.claim::<Answer>(tx, 202, now).await?;
        Ok(earlier.map(Accepted::from))
    }

    /// Stores what the key led to.
    pub(super) async fn keep(&self, tx: &mut TenantTx, accepted: &Accepted) -> Result<(), VmError> {
        let location = format!("/api/v1/vms/{}", accepted.vm.id);
        Ok(self.0.keep(tx, &location, &Answer::from(accepted)).await?)
    }
}

/// A new VM as it was answered; everything else about it was the same for all new VMs.
#[derive(Serialize, Deserialize)]
struct Answer {
    vm: VmId,
    operation: OperationId,
    name: String,
    cpu: i32,
    memory_gb: i32,
    disk_gb: i32,
    template_name: Option<String>,
    created_at: DateTime<Utc>,
}

impl From<&Accepted> for Answer {
    fn from(accepted: &Accepted) -> Self {
        let vm = accepted.vm.clone();
        Self {
            vm: vm.id,
            operation: accepted.operation,
            name: vm.name,
            cpu: vm.cpu,
            memory_gb: vm.memory_gb,
            disk_gb: vm.disk_gb,
            template_name: vm.template_name,
            created_at: vm.created_at,
        }
    }
}

impl From<Answer> for Accepted {
    fn from(answer: Answer) -> Self {
        Self {
            vm: Vm {
                id: answer.vm,
                name: answer.name,
                phase: Phase::Requested,
                last_stable: Status::Provisioning,
                fault: None,
                cpu: answer.cpu,
                memory_gb: answer.memory_gb,
                disk_gb: answer.disk_gb,
                ip_address: None,
                template_name: answer.template_name,
                version: 1,
                created_at: answer.created_at,
                updated_at: answer.created_at,
            },
            operation: answer.operation,
        }
    }
}
