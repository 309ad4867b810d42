//! What is told of a VM.

use bulkhead_kernel::ids::OperationId;
use chrono::{DateTime, Utc};

use crate::vms::{Phase, words};

words! {
    /// How much an event matters.
    Level ("level") {
        /// As it should be.
        Info = "info",
        /// Something to know, nothing to do.
        Warning = "warning",
        /// Something failed.
        Error = "error",
    }
}

/// Something that happened to a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place in the VM's timeline, from 1 without gaps.
    pub seq: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// How much it matters.
    pub level: Level,
    /// A stable word for it.
    pub code: String,
    /// A sentence for a person.
    pub message: String,
    /// The phase after it.
    pub phase: Phase,
    /// Who caused it, also when a worker did it for them.
    pub principal: String,
    /// The operation it belongs to.
    pub operation: Option<OperationId>,
    /// The request that caused it.
    pub request_id: String,
}

/// An event about to be appended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewEvent<'a> {
    pub(crate) at: DateTime<Utc>,
    pub(crate) level: Level,
    pub(crate) code: &'a str,
    pub(crate) message: &'a str,
    pub(crate) phase: Phase,
    pub(crate) principal: &'a str,
    pub(crate) operation: Option<OperationId>,
    pub(crate) request_id: &'a str,
}
