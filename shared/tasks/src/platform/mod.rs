//! Jobs of all tenants and of the platform, for those who run it: what waits, what runs, what is dead, and what can be
//! done about it. Each cluster has jobs of its own.
//!
//! - What operators change is in the platform's log.
//! - A payload is shown with its ids and numbers; texts and long lists in it are left out.

mod model;
pub mod service;
mod store;

pub use model::{AnyFilter, AnyJob, Bulk, KindDepth, Overview, TenantDepth, WorkerSeen};
