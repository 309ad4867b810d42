//! What a pass over a VM knows and decides.

use std::{sync::Arc, time::Duration};

use bulkhead_kernel::{
    config,
    ids::{OperationId, TemplateId, TenantId, VmId},
};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    driver::{Driver, DriverError, Fence, Found, Observation, Plan, Spec},
    operations::{Operation, Step as StepRow},
    vms::{Desired, Phase, Size, Status},
};

/// How the reconciler goes about it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who holds the leases, for operators.
    pub worker: String,
    /// How long a machine is held without a sign of life. A call to a provider may take half of it.
    pub lease: Duration,
    /// How long between two looks for work without notice.
    pub poll: Duration,
    /// How long between two looks at a machine at rest.
    pub observe_interval: Duration,
    /// How many machines at a time.
    pub concurrency: usize,
}

impl Settings {
    /// From configuration, with a name of this process's own.
    #[must_use]
    pub fn new(settings: &config::Compute, concurrency: usize) -> Self {
        Self {
            worker: format!("worker-{}", Uuid::now_v7().simple()),
            lease: settings.lease,
            poll: settings.poll,
            observe_interval: settings.observe_interval,
            concurrency: concurrency.max(1),
        }
    }
}

/// A machine held under an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) vm: VmId,
    pub(super) tenant: TenantId,
    pub(super) epoch: i64,
    pub(super) failures: i32,
}

/// A VM with everything a decision needs, read under the lock of its row.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) vm: VmId,
    pub(super) name: String,
    pub(super) phase: Phase,
    pub(super) last_stable: Status,
    pub(super) desired: Desired,
    pub(super) size: Size,
    pub(super) template: Option<TemplateId>,
    pub(super) incarnation: i32,
    pub(super) provider: Option<String>,
    pub(super) plan: Option<Plan>,
    pub(super) provider_ref: Option<String>,
    pub(super) ip_address: Option<String>,
    pub(super) observed: Value,
    pub(super) version: i64,
    pub(super) running: Option<Operation>,
    pub(super) pending: Option<Operation>,
    pub(super) steps: Vec<StepRow>,
    /// What a creation that was called off may still be doing at the provider.
    pub(super) leftover: Option<String>,
}

/// Why a pass ended before it came to rest.
#[derive(Debug, thiserror::Error)]
pub(super) enum PassError {
    /// Another worker has the machine.
    #[error("the lease is lost")]
    Lost,
    /// The row is not as it was read, or the step is not in the table; look again.
    #[error("the vm has moved on")]
    Moved,
    /// The machine's driver is not in this build.
    #[error("no driver {0:?}")]
    NoDriver(String),
    /// The database.
    #[error("the database failed")]
    Vm(#[source] crate::vms::VmError),
}

impl From<crate::vms::VmError> for PassError {
    fn from(error: crate::vms::VmError) -> Self {
        match error {
            crate::vms::VmError::Database(error) => error.into(),
            other => Self::Vm(other),
        }
    }
}

impl From<bulkhead_tenancy::DbError> for PassError {
    fn from(error: bulkhead_tenancy::DbError) -> Self {
        match error {
            bulkhead_tenancy::DbError::LeaseLost => Self::Lost,
            refused if refused.constraint() == Some("vms_transition_check") => Self::Moved,
            other => Self::Vm(other.into()),
        }
    }
}

impl From<sqlx::Error> for PassError {
    fn from(error: sqlx::Error) -> Self {
        bulkhead_tenancy::DbError::from(error).into()
    }
}

/// When to look at the machine again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// After this long.
    For(Duration),
    /// Later and later, as the last attempt failed; not before `at_least`.
    BackOff { at_least: Duration },
    /// When somebody wants something.
    Never,
}

/// One unit of an operation. Its place in the list is its place in the table of steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Plan,
    Image,
    Network,
    Disk,
    Instance,
    Power,
    Confirm,
    /// What a called-off creation left running is waited for.
    Await,
    Remove,
    /// Nothing bears the identity any more.
    Absent,
    /// A look outside any operation.
    Look,
}

/// The steps of an operation in their order, with their position in the table.
pub(super) type Steps = &'static [(i16, Step)];

pub(super) const CREATE: Steps = &[
    (1, Step::Plan),
    (2, Step::Image),
    (3, Step::Network),
    (4, Step::Disk),
    (5, Step::Instance),
    (6, Step::Power),
    (7, Step::Confirm),
];

/// Where the power step of a creation is written down.
pub(super) const POWER_POSITION: i16 = 6;

/// What undoes a creation that cannot succeed.
pub(super) const CLEAN_UP: Steps = &[(20, Step::Remove), (21, Step::Absent)];

pub(super) const DELETE: Steps = &[(1, Step::Await), (2, Step::Remove), (3, Step::Absent)];

impl Step {
    /// As the table and the operation show it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Image => "image",
            Self::Network => "network",
            Self::Disk => "disk",
            Self::Instance => "instance",
            Self::Power => "power",
            Self::Confirm => "confirm",
            Self::Await => "await",
            Self::Remove => "remove",
            Self::Absent => "confirm_absent",
            Self::Look => "look",
        }
    }
}

/// What comes next for a VM.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing now.
    Rest(Rest),
    /// The waiting operation begins.
    Begin,
    /// The running operation is called off for a deletion.
    Cancel,
    /// The running operation is past its deadline.
    Expire,
    /// The step has nothing to do.
    Skip(i16, Step),
    /// The step is called, for the first time or again.
    Call {
        position: i16,
        step: Step,
        is_resumed: bool,
    },
    /// The step's task is asked for.
    Poll { position: i16, step: Step, task: String },
    /// The machine is looked at.
    Look,
    /// All steps are done: the last transition.
    Finish,
}

/// A call to the provider, with all it needs once the transaction is over.
pub(super) struct Request {
    pub(super) driver: Arc<dyn Driver>,
    pub(super) fence: Fence,
    pub(super) operation: Option<OperationId>,
    pub(super) position: i16,
    pub(super) step: Step,
    /// An earlier call may have had its effect: look first.
    pub(super) is_resumed: bool,
    /// The task to ask for instead of calling.
    pub(super) task: Option<String>,
    pub(super) spec: Option<Spec>,
    pub(super) plan: Option<Plan>,
    pub(super) reference: Option<String>,
}

/// What the provider said.
#[derive(Debug)]
pub(super) enum Answer {
    Planned(Plan),
    /// As asked; the reference of what was made.
    Done(Option<String>),
    Pending {
        task: String,
        poll_after: Duration,
    },
    Running {
        percent: Option<i16>,
        poll_after: Duration,
    },
    /// The task ended otherwise.
    TaskFailed(DriverError),
    /// The task is not known there any more.
    Forgotten,
    Observed(Observation),
    Found(Found),
}

/// A call and what came of it.
pub(super) struct Outcome {
    pub(super) request: Request,
    pub(super) answer: Result<Answer, DriverError>,
}
