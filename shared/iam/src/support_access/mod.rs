//! An operator's way into one tenant: for a reason, until a time, and in the tenant's sight.
//!
//! - Whether it is live is read in each request and remembered nowhere: when it expires, is ended, or its operator is
//!   deactivated, the next request finds the tenant closed, on every process.
//! - It only looks, or does the daily work as well; it never gives rights, keys or invitations, nor ends the tenant.
//! - The tenant's log has the grant, the end, and every change made through it; the tenant's owners can end it.
//!
//! Absent here: a way into a tenant that is closed to its own members. Who is a member acts as one.

mod error;
mod model;
pub mod service;
mod store;

pub use error::SupportError;
pub use model::{LiveAccess, SupportAccess, Wanted};
