//! People in a tenant, and what they may do there.
//!
//! - The authority of a request is read from the tenant's rows in one message and believed for a second at the most, so
//!   what is taken from somebody is gone within that time on every process.
//! - Somebody who is no active member learns nothing, not even that the tenant exists.

mod cache;
mod error;
pub mod jobs;
mod model;
pub mod names;
pub mod service;
mod store;

pub(crate) use cache::AuthorityCache;
pub use error::MemberError;
pub use model::{Authority, Member};
pub use store::AUTHORITY_SQL;
