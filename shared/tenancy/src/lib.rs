//! How code reaches data: every customer has a schema of its own, and [`TenantTx`] is the only door to it.
//!
//! - A transaction enters its tenant with its first message to the server: timeouts, `search_path` and the tenant's own
//!   role, all local to the transaction, in one call of `control.enter_tenant`, which also refuses a tenant that is not
//!   active and a router that is behind (docs/adr/0002).
//! - The login role owns nothing and inherits nothing. Outside a transaction of ours a tenant's tables do not exist.
//! - Connections live in [`slots`]: a bounded set, affine to tenants, that never hands on an open transaction, whatever
//!   happened to the future that opened it. Tenants belong to [`shards`], each with a login and a set of its own, so that no
//!   login is a member of too many roles; all sets together stay within one [`budget`].
//! - A server process grows with every tenant it meets, so a connection is closed in time ([`retirement`], docs/adr/0006).
//! - A tenant lives in one [`Cluster`]; who looks from home is led there, and entering checks the epoch in that cluster's own
//!   registry, so that nobody writes to a place it has left (docs/adr/0010).
//! - Hot single-message requests go through [`Db::read`]; a [`Message`] cannot carry text values.
//!
//! Absent here: no pool is public, no connection leaves without its transaction, nothing sets a path for a session.

mod budget;
mod capture;
mod cluster;
mod contact;
mod control;
mod db;
pub mod doctor;
mod erasure;
mod error;
pub mod fleet;
mod lanes;
mod lease;
mod lineage;
mod message;
mod meter;
pub mod migrations;
mod owner;
mod plans;
mod registry;
mod relocation;
mod retirement;
mod schema;
mod shards;
mod slots;
mod slug;
mod snapshot;
mod tenant;
mod transfer;

pub use capture::{Capture, ForeignKey};
pub use cluster::Cluster;
pub use control::ControlTx;
pub use db::Db;
pub use erasure::TableRows;
pub use error::DbError;
pub use lineage::{Lineage, LineageError, Migration, SCHEMA_VERSION, SERVED_VERSIONS};
pub use message::{Message, from_epoch};
pub use meter::DbMeter;
pub use owner::OwnerTx;
pub use registry::{TenantRef, TenantSelector};
pub use relocation::Checksum;
pub use schema::SchemaName;
pub use slug::{MalformedSlug, Slug};
pub use snapshot::Snapshot;
pub use tenant::TenantTx;
pub use transfer::{CopyIn, CopyOut, Table};
