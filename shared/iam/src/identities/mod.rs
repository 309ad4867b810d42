//! People: one row per person, whatever tenants they belong to.
//!
//! - Registering answers the same, and takes as long, whether or not the address is known. Only the owner of the
//!   address learns more, by mail.
//! - Platform operators are people with a mark; the mark opens no tenant.
//!
//! Absent here: sign-in (sessions) and everything a tenant decides (members, roles).

mod error;
mod model;
pub mod service;
mod store;

pub use error::IdentityError;
pub(crate) use model::Credentials;
pub use model::{Identity, Operator, PersonName, Registered, Registration, Rename};
