//! One line of the index.

use bulkhead_kernel::ids::TenantId;

/// A tenant that somebody is an active member of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) tenant: TenantId,
    /// Whether the tenant can be entered now, if only to read.
    pub(crate) is_open: bool,
}
