//! The append-only record of who did what in a tenant.
//!
//! - A row is written in the transaction of the change it tells of: one cannot commit without the other.
//! - Fields are told by their values before and after; secrets, hashes and tokens never are.
//!
//! Absent: no row is changed or removed by what records.

mod model;
mod service;
mod store;

pub use model::{Actor, Event, Outcome, Target};
pub use service::record;
