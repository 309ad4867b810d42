//! Members who come with an archive, and who they are on this installation.
//!
//! - Somebody whose id is known here is that person. Otherwise the address decides, and lets in only when its owner has
//!   proved it here; an unknown person becomes an identity without a password, which proves the address when it sets one.
//! - Whoever is not linked is no active member, whatever the archive says.
//!
//! Absent: any decision to link; that is an operator's.

pub mod service;
mod store;

use bulkhead_kernel::ids::IdentityId;

/// A member as an archive tells of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The id on the installation that wrote the archive.
    pub id: IdentityId,
    /// The address.
    pub email: String,
    /// The given name.
    pub first_name: String,
    /// The family name.
    pub last_name: String,
    /// The leading role.
    pub role: String,
    /// Whether they could enter.
    pub is_active: bool,
}
