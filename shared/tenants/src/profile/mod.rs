//! What a tenant is called and what is written about it: name, slug, settings, custom fields.
//!
//! - Settings and custom fields are JSON objects, changed by merge patch (RFC 7396) and checked against the platform's
//!   schema, of which [`Schema`] says what it understands. Together they take 16 KiB at the most.
//! - A name or a slug changes at once, and the old slug is free at once. The epoch rises with it, so that no router goes
//!   on to believe the old one.
//!
//! Absent here: what a setting means; whoever reads one says so.

mod model;
mod schema;
pub mod service;
pub(crate) mod store;

pub use model::{Changes, Document, Profile};
pub use schema::{Schema, Schemas};
