//! What an operation and its steps are.

use bulkhead_kernel::ids::OperationId;
use chrono::{DateTime, TimeDelta, Utc};

use crate::vms::words;

words! {
    /// What an operation does.
    Kind ("operation") {
        /// Makes the VM.
        Create = "create",
        /// Switches it on.
        Start = "start",
        /// Switches it off.
        Stop = "stop",
        /// Switches it off and on.
        Restart = "restart",
        /// Removes it.
        Delete = "delete",
        /// Makes a lost one anew.
        Recreate = "recreate",
    }

    /// How far it is.
    State ("operation state") {
        /// Waits for a worker, or for the running one to end.
        Pending = "pending",
        /// Under way.
        Running = "running",
        /// Did what it should.
        Succeeded = "succeeded",
        /// Did not.
        Failed = "failed",
        /// Called off.
        Cancelled = "cancelled",
        /// Overtaken by a newer one.
        Superseded = "superseded",
    }

    /// How far a step is.
    StepState ("step state") {
        /// About to be called, or called without an answer yet.
        Intent = "intent",
        /// The provider is at it.
        Waiting = "waiting",
        /// Finished.
        Done = "done",
        /// Given up.
        Failed = "failed",
    }
}

impl Kind {
    /// After how long it is given up; a deletion never is.
    #[must_use]
    pub const fn deadline(self) -> Option<TimeDelta> {
        match self {
            Self::Create | Self::Recreate => Some(TimeDelta::minutes(60)),
            Self::Start | Self::Restart => Some(TimeDelta::minutes(10)),
            Self::Stop => Some(TimeDelta::minutes(6)),
            Self::Delete => None,
        }
    }
}

/// A change under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its id.
    pub id: OperationId,
    /// What it does.
    pub kind: Kind,
    /// How far it is.
    pub state: State,
    /// The generation of the desired state it brings about.
    pub target_gen: i64,
    /// The running step.
    pub step: Option<String>,
    /// Steps finished.
    pub steps_done: i32,
    /// Steps in all.
    pub steps_total: i32,
    /// Who asked for it.
    pub principal: String,
    /// By which request.
    pub request_id: String,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it is given up.
    pub deadline_at: Option<DateTime<Utc>>,
    /// Why it fails, known before its end while it cleans up.
    pub error: Option<serde_json::Value>,
}

/// A step as it was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) position: i16,
    pub(crate) state: StepState,
    pub(crate) attempts: i32,
    pub(crate) lease_epoch: i64,
    pub(crate) task_ref: Option<String>,
}
