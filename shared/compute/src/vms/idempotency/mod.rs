//! `POST /vms` under an `Idempotency-Key`: the answer is stored in the transaction of the change, so that a repeated
//! request meets either both or neither.

mod store;

use bulkhead_kernel::{
    idempotency::IdempotencyKey,
    ids::{OperationId, VmId},
};
use bulkhead_tenancy::TenantTx;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Accepted, NewVm, Phase, Status, Vm, VmError};

const ROUTE: &str = "POST /vms";

/// A caller's key, and what it was sent with.
pub(super) struct Key<'a> {
    principal: &'a str,
    text: IdempotencyKey,
    hash: Vec<u8>,
}

impl<'a> Key<'a> {
    pub(super) fn new(principal: &'a str, key: &str, new: &NewVm) -> Result<Self, VmError> {
        let key = key.parse().map_err(|violation| VmError::Invalid(vec![violation]))?;
        let body = (
            &new.name,
            &new.source_type,
            &new.template_id,
            &new.iso_url,
            new.cpu,
            new.memory_gb,
            new.disk_gb,
        );
        let hash = Sha256::digest(serde_json::to_vec(&body)?).to_vec();
        Ok(Self {
            principal,
            text: key,
            hash,
        })
    }

    /// Takes the key for this transaction, or gives the answer it once led to. Waits for a request under the same key
    /// that is still running.
    pub(super) async fn claim(&self, tx: &mut TenantTx, now: DateTime<Utc>) -> Result<Option<Accepted>, VmError> {
        if store::insert(tx, (self.principal, ROUTE, self.text.as_str()), &self.hash, now).await? {
            return Ok(None);
        }
        let (hash, body) = store::get(tx, (self.principal, ROUTE, self.text.as_str())).await?;
        if hash != self.hash {
            return Err(VmError::IdempotencyKeyReused);
        }
        Ok(Some(Answer::deserialize(body)?.into()))
    }

    /// Stores what the key led to.
    pub(super) async fn keep(&self, tx: &mut TenantTx, accepted: &Accepted) -> Result<(), VmError> {
        let answer = serde_json::to_value(Answer::from(accepted))?;
        let location = format!("/api/v1/vms/{}", accepted.vm.id);
        Ok(store::set_answer(tx, (self.principal, ROUTE, self.text.as_str()), &location, &answer).await?)
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
