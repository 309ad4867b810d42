//! Where a tenant lives, and keeping its cluster told of its state.
//!
//! - Home is the truth about a tenant's state, its cluster about its rows. The cluster's own row of the tenant follows in
//!   the call that changed the state; [`service::follow_all`], which the sweep calls, makes up for what a crash or an
//!   unreachable cluster left undone. `placements.epoch` says how far the cluster has been told.
//! - A cluster knows no names: its row of a tenant has one made of the id.
//!
//! Absent here: which connections lead there (tenancy), and moving ([`crate::moves`]).

pub mod service;
pub(crate) mod store;
