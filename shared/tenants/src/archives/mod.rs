//! Archives: one tenant as one file, and new tenants made from such a file (docs/archives.md, docs/adr/0009).
//!
//! - An export reads every table from the catalog, in one snapshot, and writes them into a tar file as they come. What is
//!   not finished has another name and is never given to anybody.
//! - An archive is input like any other: it is read whole and checked before the first row of the new tenant is written,
//!   and each table once more while it is loaded. Names in it reach SQL only when the catalog knows them.
//! - An import is an onboarding that fills tables instead of seeding them. It always makes a new tenant, which opens with
//!   the last step; one that cannot be finished leaves no tenant.
//! - Machines do not come along: their rows arrive as deleted, so that no two tenants believe in one machine.
//!
//! Absent here: COPY (tenancy), who a person is (iam), HTTP.

mod error;
pub mod export;
mod file;
pub mod import;
pub mod jobs;
mod manifest;
mod model;
mod reader;
pub mod service;
mod store;
pub mod sweep;
mod tar;
mod writer;

pub use error::ArchiveError;
pub use manifest::{FORMAT, Manifest};
pub use model::{Export, Import, ImportRequest, Imported, MemberPolicy, Requested, State};
pub use reader::verify;
pub use service::{Archives, Ground, Upload};
pub use store::{EXPORTED, NOT_EXPORTED};
