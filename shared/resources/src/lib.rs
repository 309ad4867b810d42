//! Things of the tenants' own: a type, a name, and attributes of any shape. The slice to copy for a noun of your own;
//! CONTRIBUTING.md walks through it file by file.
//!
//! - Every change is recorded in its own transaction, with the values before and after.
//! - A change under `If-Match` is made to the version that the caller has seen, or not at all.
//! - Under an idempotency key the same request makes one thing, however often it is sent.
//! - Another tenant's thing is not found, as if it did not exist.
//!
//! Absent: meaning. Nothing is read out of the attributes.

mod error;
mod idempotency;
mod many;
mod model;
pub mod service;
mod store;

pub use error::ResourceError;
pub use many::{Unmade, create_many};
pub use model::{Attributes, Changes, NewResource, Resource, ResourceQuery, Sort};
