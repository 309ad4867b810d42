//! Grants: roles given to members.
//!
//! - Changes of who may do what in a tenant take turns ([`Turn`]): under it the principal's own rights are read, so that
//!   nobody acts on rights that were taken from them a moment ago, and what is checked stays true until the commit.
//! - Nobody gives a role beyond what they hold, and nobody touches a member who holds more than they do.
//! - An active owner is left, whatever else happens.
//! - The index of memberships shows each member's leading role as of the same commit.

pub mod service;
mod store;
mod turn;

pub(crate) use store::find_held as held_by;
pub(crate) use turn::Turn;
