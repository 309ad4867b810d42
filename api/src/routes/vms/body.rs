//! What goes over the wire about machines.

use bulkhead_compute::{
    events::Event,
    operations::Operation,
    vms::{Accepted, NewVm, Status, VmDetail, VmFault, VmSummary},
};
use bulkhead_kernel::fault::Violation;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::problem::Problem;

/// A machine that somebody wants.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "web-1", "source_type": "template",
    "template_id": "tpl_0190a1b2c3d4e5f60718293a4b5c6d7e", "cpu": 2, "memory_gb": 4, "disk_gb": 20}))]
pub struct CreateVm {
    /// 1 to 63 characters; unique among the tenant's machines, whatever its case.
    name: String,
    /// `template` or `iso`.
    source_type: String,
    /// For the source `template`.
    template_id: Option<String>,
    /// For the source `iso`.
    iso_url: Option<String>,
    /// 1 to 64.
    cpu: i64,
    /// 1 to 512.
    memory_gb: i64,
    /// 1 to 4096.
    disk_gb: i64,
}

impl From<CreateVm> for NewVm {
    fn from(wanted: CreateVm) -> Self {
        Self {
            name: wanted.name,
            source_type: wanted.source_type,
            template_id: wanted.template_id,
            iso_url: wanted.iso_url,
            cpu: wanted.cpu,
            memory_gb: wanted.memory_gb,
            disk_gb: wanted.disk_gb,
        }
    }
}

/// Which machines.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct VmFilter {
    /// Part of the name, whatever its case.
    pub(super) search: Option<String>,
    /// `RUNNING`, `STOPPED`, `PROVISIONING` or `ERROR`.
    status: Option<String>,
}

impl VmFilter {
    pub(super) fn status(&self) -> Result<Option<Status>, Problem> {
        let status = self.status.as_deref().filter(|status| !status.is_empty());
        let unknown = |_| Problem::invalid(vec![Violation::new("status", "is not a status of a machine")]);
        status.map(|status| status.parse().map_err(unknown)).transpose()
    }
}

/// From where on.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LogsQuery {
    /// The `seq` of the last entry already seen; 0 for none.
    #[param(minimum = 0)]
    after: Option<i64>,
}

impl LogsQuery {
    pub(super) fn after(&self) -> Result<Option<i64>, Problem> {
        match self.after {
            Some(seq) if seq < 0 => Err(Problem::invalid(vec![Violation::new("after", "must not be negative")])),
            after => Ok(after),
        }
    }
}

/// A machine in a list.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"id": "vm_0190a1b2c3d4e5f60718293a4b5c6d7e", "name": "web-1", "status": "RUNNING", "cpu": 2,
    "memory_gb": 4, "disk_gb": 20, "ip_address": "10.0.0.7", "created_at": "2026-11-20T12:00:00Z",
    "template_name": "debian-12"}))]
pub struct VmItem {
    id: String,
    name: String,
    /// `RUNNING`, `STOPPED`, `PROVISIONING` or `ERROR`: the last one it stood in.
    status: &'static str,
    cpu: i32,
    memory_gb: i32,
    disk_gb: i32,
    /// Once it is known.
    ip_address: Option<String>,
    created_at: DateTime<Utc>,
    template_name: Option<String>,
}

impl From<VmSummary> for VmItem {
    fn from(vm: VmSummary) -> Self {
        Self {
            id: vm.id.to_string(),
            status: vm.status.as_str(),
            name: vm.name,
            cpu: vm.cpu,
            memory_gb: vm.memory_gb,
            disk_gb: vm.disk_gb,
            ip_address: vm.ip_address,
            created_at: vm.created_at,
            template_name: vm.template_name,
        }
    }
}

/// A machine, and what is being done to it.
#[derive(Serialize, ToSchema)]
pub struct VmBody {
    #[serde(flatten)]
    vm: VmItem,
    /// What is happening now; null when nothing is.
    #[schema(example = "starting")]
    task: Option<String>,
    /// Why it is in ERROR.
    #[schema(example = json!(null))]
    fault: Option<&'static str>,
    updated_at: DateTime<Utc>,
    /// The change under way or waiting.
    operation: Option<OperationBody>,
}

impl From<VmDetail> for VmBody {
    fn from(detail: VmDetail) -> Self {
        Self {
            task: detail.task().map(ToOwned::to_owned),
            fault: detail.vm.fault.map(VmFault::as_str),
            updated_at: detail.vm.updated_at,
            operation: detail.operation.map(OperationBody::from),
            vm: VmSummary::from(detail.vm).into(),
        }
    }
}

/// A change of a machine.
#[derive(Serialize, ToSchema)]
#[schema(as = Operation, example = json!({"id": "op_0190a1b2c3d4e5f60718293a4b5c6d7e", "kind": "create",
    "state": "running", "step": "instance", "steps_done": 4, "steps_total": 10}))]
pub struct OperationBody {
    id: String,
    /// `create`, `start`, `stop`, `restart`, `delete` or `recreate`.
    kind: &'static str,
    /// `pending` or `running`.
    state: &'static str,
    /// The step it is at.
    step: Option<String>,
    steps_done: i32,
    steps_total: i32,
}

impl From<Operation> for OperationBody {
    fn from(operation: Operation) -> Self {
        Self {
            id: operation.id.to_string(),
            kind: operation.kind.as_str(),
            state: operation.state.as_str(),
            step: operation.step,
            steps_done: operation.steps_done,
            steps_total: operation.steps_total,
        }
    }
}

/// A machine whose change was accepted.
#[derive(Serialize, ToSchema)]
pub struct AcceptedVm {
    #[serde(flatten)]
    vm: VmItem,
    /// What brings it about.
    #[schema(example = "op_0190a1b2c3d4e5f60718293a4b5c6d7e")]
    operation: String,
}

impl From<Accepted> for AcceptedVm {
    fn from(accepted: Accepted) -> Self {
        Self {
            operation: accepted.operation.to_string(),
            vm: VmSummary::from(accepted.vm).into(),
        }
    }
}

/// Something that happened to a machine.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"seq": 1, "timestamp": "2026-11-20T12:00:00Z", "level": "info", "code": "vm.requested",
    "message": "The machine was requested.", "phase": "REQUESTED",
    "principal": "usr_0190a1b2c3d4e5f60718293a4b5c6d7e", "operation": "op_0190a1b2c3d4e5f60718293a4b5c6d7e",
    "request_id": "0190a1b2c3d4e5f60718293a4b5c6d7e"}))]
pub struct EventItem {
    /// Its place in the machine's timeline, from 1 without gaps.
    seq: i64,
    timestamp: DateTime<Utc>,
    /// `info`, `warning` or `error`.
    level: &'static str,
    /// A stable word for it.
    code: String,
    message: String,
    /// The phase after it.
    phase: &'static str,
    /// Who caused it, also when a worker did it for them.
    principal: String,
    operation: Option<String>,
    request_id: String,
}

impl From<Event> for EventItem {
    fn from(event: Event) -> Self {
        Self {
            seq: event.seq,
            timestamp: event.at,
            level: event.level.as_str(),
            code: event.code,
            message: event.message,
            phase: event.phase.as_str(),
            principal: event.principal,
            operation: event.operation.map(|operation| operation.to_string()),
            request_id: event.request_id,
        }
    }
}
