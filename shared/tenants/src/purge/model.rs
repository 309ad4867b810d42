//! The steps of a purge, and what its receipt says.

use std::collections::BTreeMap;

use bulkhead_kernel::ids::{IdentityId, ReceiptId, TenantId};
use bulkhead_tenancy::TableRows;
use chrono::{DateTime, Utc};
use serde::Serialize;

/// The `typ` of a receipt's header.
pub const RECEIPT_TYPE: &str = "purge-receipt+jws";

/// The steps in their order. Names are kept in the database: a step may be added, never renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// All machines, at their providers.
    Machines,
    /// All jobs, whatever their state. One that still runs loses its lease with its row and can change nothing.
    Jobs,
    /// The tables of the tenant's schema, few at a time.
    Tables,
    /// The empty schema and the role.
    Schema,
    /// The rows in the tables of all tenants.
    Rows,
    /// The tenant itself; what is left is the receipt.
    Receipt,
}

impl Step {
    pub(super) const ALL: [Self; 6] = [
        Self::Machines,
        Self::Jobs,
        Self::Tables,
        Self::Schema,
        Self::Rows,
        Self::Receipt,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Machines => "machines",
            Self::Jobs => "jobs",
            Self::Tables => "tables",
            Self::Schema => "schema",
            Self::Rows => "rows",
            Self::Receipt => "receipt",
        }
    }
}

/// Rows by table, in the order of the names.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct Removed(BTreeMap<String, i64>);

impl Removed {
    /// A table that had none is left out.
    pub(super) fn add(&mut self, TableRows { table, rows }: &TableRows) {
        if *rows > 0 {
            *self.0.entry(table.clone()).or_default() += rows;
        }
    }
}

/// What was asked for, and when.
#[derive(Debug, Clone)]
pub(super) struct Deletion {
    pub(super) slug: String,
    pub(super) asked_by: Option<IdentityId>,
    pub(super) asked_at: Option<DateTime<Utc>>,
    pub(super) reason: Option<String>,
    pub(super) began_at: Option<DateTime<Utc>>,
}

/// What the platform signs. It names no person but the one who asked, by id.
#[derive(Debug, Serialize)]
pub(super) struct Statement<'a> {
    iss: &'a str,
    jti: ReceiptId,
    iat: i64,
    tenant_id: TenantId,
    slug: &'a str,
    asked_by: Option<IdentityId>,
    asked_at: Option<DateTime<Utc>>,
    reason: Option<&'a str>,
    began_at: Option<DateTime<Utc>>,
    purged_at: DateTime<Utc>,
    removed_rows: &'a Removed,
}

impl<'a> Statement<'a> {
    pub(super) fn new(
        issuer: &'a str,
        receipt: ReceiptId,
        tenant: TenantId,
        deletion: &'a Deletion,
        removed: &'a Removed,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            iss: issuer,
            jti: receipt,
            iat: now.timestamp(),
            tenant_id: tenant,
            slug: &deletion.slug,
            asked_by: deletion.asked_by,
            asked_at: deletion.asked_at,
            reason: deletion.reason.as_deref(),
            began_at: deletion.began_at,
            purged_at: now,
            removed_rows: removed,
        }
    }
}

/// What is left of a purged tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Its id.
    pub id: ReceiptId,
    /// The tenant that is gone.
    pub tenant: TenantId,
    /// The signed statement, a compact JWS of type [`RECEIPT_TYPE`].
    pub jws: String,
    /// When it was written.
    pub created_at: DateTime<Utc>,
}
