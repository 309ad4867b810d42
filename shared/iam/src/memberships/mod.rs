//! Which tenants somebody may enter: a thin index over all tenants, for sign-in and the tenant selector. The truth about
//! rights is in each tenant (members).

mod model;
pub mod service;
mod store;

pub(crate) use model::Membership;
