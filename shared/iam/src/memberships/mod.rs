//! Which tenants somebody may enter: a thin index over all tenants, for sign-in and the tenant selector. The truth about
//! rights is in each tenant (members).
//!
//! - The index is kept at home. It follows the members of a tenant that lives there in the tenant's own transaction, and those
//!   of another in a moment: what its cluster has changed waits there and is carried home (docs/adr/0021). Until then the
//!   index shows a door that does not open, or does not show one that does.
//! - Words about a member are counted, so that it does not matter how often one is carried, or by whom, or how late.

pub mod carrier;
mod model;
pub mod service;
mod store;

pub(crate) use model::Membership;
