//! What VMs are made from. The catalogue is global, published by operators into `control`, and reaches tenants through
//! one function of the database; templates of a tenant's own come with a later issue.
//!
//! A version never changes once published: publishing the same name and version again changes nothing.

mod model;
pub mod service;
pub(crate) mod store;

pub use model::{NewTemplate, Template, seeds};
