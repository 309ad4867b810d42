//! The background work of archives. Both belong to the platform: a suspended tenant can be exported, and a tenant that
//! is being made has no work of its own yet.

use bulkhead_jobs::{Job, Queue};
use bulkhead_kernel::ids::{ExportId, ImportId, TenantId};
use serde::{Deserialize, Serialize};

/// Writes an archive.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct ExportTenant {
    /// Whom to export.
    pub tenant: TenantId,
    /// The row that tells how far it is.
    pub export: ExportId,
}

impl Job for ExportTenant {
    const KIND: &'static str = "tenants.export";
    const QUEUE: Queue = Queue::Maintenance;

    fn unique_key(&self) -> Option<String> {
        Some(self.export.to_string())
    }

    fn may_belong_to(&self, tenant: Option<TenantId>) -> bool {
        tenant.is_none()
    }
}

/// Makes a tenant from an archive.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct ImportTenant {
    /// The new tenant.
    pub tenant: TenantId,
    /// The row that tells how it ended; the file is named after it.
    pub import: ImportId,
}

impl Job for ImportTenant {
    const KIND: &'static str = "tenants.import";
    const QUEUE: Queue = Queue::Provision;
    const MAX_ATTEMPTS: u16 = 20;

    fn unique_key(&self) -> Option<String> {
        Some(self.import.to_string())
    }

    fn may_belong_to(&self, tenant: Option<TenantId>) -> bool {
        tenant.is_none()
    }
}
