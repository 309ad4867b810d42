//! Virtual machines as tenants see them: asked for, shown, listed, deleted.
//!
//! - A call changes what is *desired* and answers; what is *observed* is changed by [`crate::reconcile`] alone.
//! - VM, allocation, operation, event, work row and the hint to a worker commit together or not at all.
//! - The id is minted before anything else and is the identity at the provider, so nothing can be made twice.
//! - What is shown is computed from the phase ([`Status::of`]); the table of phases is data ([`TRANSITIONS`]).
//! - Another tenant's VM is not found, as if it did not exist.
//!
//! Absent: calls to a provider, waiting, and any text value in the hot list message.

mod error;
mod idempotency;
mod jobs;
mod model;
mod phase;
mod removal;
pub mod service;
mod store;

pub use error::VmError;
pub use jobs::ReconcileVm;
pub use model::{NAME_CHARS, NewVm, Size, Vm, VmDetail, VmQuery, VmSummary};
pub(crate) use phase::words;
pub use phase::{Desired, Metering, Mover, Phase, Status, TRANSITIONS, Transition, UnknownWord, VmFault};
pub use removal::remove_all;
pub use service::{Accepted, Deletion};
