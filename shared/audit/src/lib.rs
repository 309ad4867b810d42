//! The append-only record of who did what in a tenant.
//!
//! - A row is written in the transaction of the change it tells of: one cannot commit without the other. What happens to a
//!   tenant in `control` is written there, in the same way, and moved into the tenant's log by the worker.
//! - Fields are told by their values before and after; secrets, hashes and tokens never are.
//! - What operators do is in the platform's log as well, which is in `control`, outlives tenants and has no chain.
//! - The worker seals rows into a chain of hashes ([`chain`]), in the order in which it sees them. Writers take no lock.
//!
//! Absent: no row is changed by what records, and none is removed but from the front, by retention. Who may read the log, and
//! what attests it outside of the database, is iam's.

pub mod carrier;
pub mod chain;
mod model;
mod service;
mod store;

pub use model::{Actor, Entry, Event, Filter, Outcome, Part, Position, Target};
pub use service::{
    count_unsealed, delete_orphans, list, list_of_platform, record, record_as_owner, record_for, record_of_platform,
    record_once,
};
