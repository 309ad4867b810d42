//! The timeline of a VM: append-only, gap-free, written in the transaction of the change it tells of.
//!
//! The log that tenants read is this timeline; later the live events, webhooks and meters read it too. Whoever appends
//! holds the lock on the VM's row, which is what keeps the sequence free of gaps.

mod model;
pub(crate) mod store;

pub(crate) use model::NewEvent;
pub use model::{Event, Level};
