//! What tenants can be told of, and the way to tell it: the outbox of webhooks (docs/webhooks.md).
//!
//! - An event is written in the transaction of what happened: one cannot commit without the other.
//! - It is written only where an endpoint of the tenant wants it, once for all of them, with a delivery and a job for each.
//!   A tenant without endpoints pays for one statement that writes nothing.
//! - Data names things by their ids and tells little else: whoever needs more asks the API, and is judged there.
//!
//! Absent: endpoints, secrets, HTTP. Those are of the crate webhooks, which sends what is written here.

pub mod jobs;
mod model;
mod service;
mod store;

pub use model::{Event, EventType, Field, Job, MAX_DATA_BYTES, Member, Role, Vm};
pub use service::{emit, is_wanted};
