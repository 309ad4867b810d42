//! Work that tenants submit themselves, and jobs as their tenants and operators see them.
//!
//! - A tenant sees the jobs of its own that are made to be seen, and nothing of any other: the database takes the tenant
//!   from the role.
//! - Who submits a task needs what the task needs, and still needs it when the task begins and at each step of it
//!   ([`Task::require`], the same check for API and worker).
//! - A task keeps how far it is with each step, in the transaction of the step: no step is done twice, whatever dies.
//! - What made a job fail is for operators; its tenant reads a code.
//! - Operators see jobs of all tenants, without the texts of their payloads: what a tenant sent is the tenant's.
//!
//! Absent: how jobs are claimed, retried and given up (jobs).

mod ends;
mod error;
mod exports;
mod idempotency;
mod imports;
mod jobs;
mod model;
pub mod platform;
mod reports;
pub mod service;
mod store;
mod task;

pub use ends::announce;
pub use error::TaskError;
pub use exports::run as export;
pub use imports::run as import;
pub use jobs::{AnnounceJob, ExportOwnTenant, ImportResources, ReportUsage, When};
pub use model::{EventBody, JobEvent, JobFilter, OwnJob, State};
pub use reports::run as report;
pub use task::{Submission, Task};
