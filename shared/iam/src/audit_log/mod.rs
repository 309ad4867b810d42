//! The tenant's audit log as its people read it, and what attests it outside of the database (docs/adr/0015).
//!
//! - The [`Keeper`] seals what was recorded, writes signed checkpoints into files, and removes what is older than the tenant
//!   wants to keep it. Any number of workers may run it.
//! - A checkpoint says where the chain ended at some time and what retention had removed by then. It is written before
//!   anything goes by it, so verification never misses what was removed rightly.
//! - An export is an event of the log itself.
//!
//! Absent: what is recorded (each service does that), and how rows are hashed (audit).

mod checkpoints;
mod error;
mod keeper;
mod model;
pub mod service;

pub use checkpoints::{CHECKPOINT_TYPE, Checkpoint, Checkpoints};
pub use error::AuditError;
pub use keeper::Keeper;
pub use model::{MAX_RETENTION_DAYS, MIN_RETENTION_DAYS, RETENTION_SETTING, Verification, check_retention};
