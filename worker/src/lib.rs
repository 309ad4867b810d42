//! Background work as a process: handlers of jobs, reconcilers, the listener for probes and metrics, and a stop that
//! loses nothing.
//!
//! Invariants: every job that runs here is named in [`registry`]; a handler is a line that calls a use case. Readiness
//! means that the loop that takes jobs is alive, and never asks the database. Absent: SQL, rules of the business, and
//! any type that the API would need.

pub mod cli;
mod handlers;
mod internal;
mod reconcilers;
pub mod registry;
pub mod schedules;
mod serve;
pub mod signals;

use bulkhead_kernel::config::Section;

pub use serve::{ServeError, serve};

/// The settings this process cannot do without.
pub const SECTIONS: &[Section] = &[
    Section::Worker,
    Section::Database,
    Section::Redis,
    Section::Mail,
    Section::Outbound,
    Section::Webhooks,
    Section::Jobs,
    Section::Tenants,
    Section::Compute,
    Section::Archives,
    Section::Audit,
    Section::Telemetry,
];
