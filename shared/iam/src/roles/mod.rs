//! Roles: named sets of permissions in one tenant. The four of the system are there from the first day and are rows like
//! any other, so that one query answers what somebody may do.

pub mod service;
mod store;
