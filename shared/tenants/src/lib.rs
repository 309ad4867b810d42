//! Tenants as their owners see them: signing a company up, and watching its compartment being built.
//!
//! - `POST /tenants` commits the pending tenant, its owner's membership, its onboarding steps and the job together.
//! - Onboarding runs in the worker, step by step. A step commits with its own effect, so it happens once however often
//!   the worker dies; the tenant becomes routable with the last one, when everything it needs is there.
//! - A tenant goes into an archive and comes out of one as a new tenant ([`archives`]).
//!
//! - A tenant is closed, opened, deleted and brought back by one row ([`lifecycle`]); what follows from that is swept up by
//!   the worker ([`Keeper`]), down to the last row and the signed receipt of a purge ([`purge`]).
//!
//! - A tenant lives in one cluster, which is told of its state ([`placement`]), and can be moved to another ([`moves`]),
//!   as long as that has room ([`capacity`]).
//!
//! Absent here: how a schema is built and dropped (tenancy), who may do what (iam), and machines, which are above.

pub mod archives;
pub mod capacity;
mod error;
pub mod jobs;
mod keeper;
pub mod lifecycle;
pub mod migrations;
mod model;
pub mod moves;
pub mod onboarding;
pub mod placement;
pub mod profile;
pub mod purge;
pub mod service;
mod store;

pub use error::TenantError;
pub use keeper::{Keeper, RemoveMachines};
pub use lifecycle::{Footprint, Reason, State, Suspension};
pub use model::{Created, Membership, NewTenant, StepState, StepStatus, Tenant, TenantName, TenantStatus};
pub use profile::{Changes, Document, Profile, Schema, Schemas};
pub use purge::Receipt;
