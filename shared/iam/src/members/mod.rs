//! People in a tenant, and what they may do there.
//!
//! - The authority of a request is read from the tenant's rows in one message and believed for a second at the most, so
//!   what is taken from somebody is gone within that time on every process.
//! - A member is the tenant's own copy of a person: what a tenant calls somebody, and whether it lets them in, is not told
//!   to other tenants, and adding an address does not tell whether it was known.
//! - Somebody who is no active member learns nothing, not even that the tenant exists.

mod cache;
mod error;
mod idempotency;
pub mod jobs;
mod model;
pub mod names;
pub mod service;
mod store;

pub(crate) use cache::AuthorityCache;
pub use error::MemberError;
pub use model::{Authority, Member, MemberChanges, NewMember};
pub use store::AUTHORITY_SQL;
