//! Roles: named sets of permissions in one tenant. The four of the system are there from the first day and are rows like
//! any other, so that one query answers what somebody may do; nobody changes them.
//!
//! - Nobody gives what they do not hold. Whoever hands a role on, now or by something that acts later (an invitation, a
//!   key), asks [`service::require_grantable`] or [`service::require_grantable_by`].
//! - A role can be made and changed by who holds all that it allows, before the change and after it.
//! - A role that somebody has is not deleted.
//!
//! Absent: who has a role (grants).

mod error;
mod held;
mod idempotency;
mod model;
pub mod service;
mod store;

pub use error::RoleError;
pub use held::Held;
pub use model::{NewRole, Role, RoleChanges};
