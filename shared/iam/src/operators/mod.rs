//! Those who run the platform: principals of their own, whatever tenants they belong to.
//!
//! - Being one opens no tenant. What does, for a while, is [`crate::support_access`].
//! - Operators are deactivated and never deleted. They are made, deactivated and reactivated in turns, by somebody who is an
//!   active one in that very moment and not the one concerned: so one is always left.
//! - Whether somebody is one is read in each request and remembered nowhere.

mod error;
mod model;
pub mod service;
mod store;

pub use error::OperatorError;
pub use model::{Made, NewOperator, Operator};
pub(crate) use store::lock_active_one;
