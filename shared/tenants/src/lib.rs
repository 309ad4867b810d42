//! Tenants as their owners see them: signing a company up, and watching its compartment being built.
//!
//! - `POST /tenants` commits the pending tenant, its owner's membership, its onboarding steps and the job together.
//! - Onboarding runs in the worker, step by step. A step commits with its own effect, so it happens once however often
//!   the worker dies; the tenant becomes routable with the last one, when everything it needs is there.
//!
//! Absent here: how a schema is built (tenancy), who may do what (iam).

mod error;
pub mod jobs;
mod model;
pub mod onboarding;
pub mod service;
mod store;

pub use error::TenantError;
pub use model::{Created, Membership, NewTenant, StepState, StepStatus, Tenant, TenantName, TenantStatus};
