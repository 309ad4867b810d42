//! People: one row per person, whatever tenants they belong to.
//!
//! - Registering answers the same, and takes as long, whether or not the address is known. Only the owner of the
//!   address learns more, by mail.
//!
//! Absent here: sign-in (sessions), everything a tenant decides (members, roles), and who runs the platform (operators).

mod error;
mod model;
pub mod service;
mod store;

pub use error::IdentityError;
pub(crate) use model::Credentials;
pub use model::{Identity, PersonName, Registered, Registration, Rename};
