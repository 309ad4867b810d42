//! Closing, opening, deleting and bringing back a tenant.
//!
//! - A change of state is one row and commits at once, however much the tenant holds: entering a tenant asks for its
//!   state, so the next transaction of any process sees it.
//! - What follows is the sweep's ([`crate::Keeper`]): jobs are parked and freed in batches, and a tenant whose grace is
//!   over is purged.
//! - A restore brings back exactly what the deletion found.
//!
//! Absent here: who is an operator (the API asks iam), and anything that removes data (purge).

mod model;
pub mod service;
pub(crate) mod store;

pub(crate) use model::Change;
pub use model::{Footprint, Reason, State, Suspension};
