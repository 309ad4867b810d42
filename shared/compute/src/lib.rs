//! Virtual machines: what tenants want of them, what providers say of them, and the loop that brings the two together.
//!
//! A call writes what is desired, an operation and an event in one transaction and answers; `control.vm_work` says what
//! is due, a worker leases it under a rising epoch and walks the operation's steps, each written down before its call.
//! The reconciler and the API never meet: either may be killed at any point.
//!
//! Absent here: HTTP, and any call to a provider outside [`reconcile`].

pub mod driver;
pub mod events;
pub mod imported;
pub mod operations;
pub mod reconcile;
pub mod simulator;
pub mod templates;
pub mod vms;
