//! The background work that tenants submit.

use std::time::Duration;

use bulkhead_jobs::{Job, Queue};
use bulkhead_kernel::ids::TenantId;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// When a job is due and until when it is of use, both from its commit on. The table keeps it, not the payload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct When {
    /// How long it waits.
    pub delay: Duration,
    /// How long it is of use.
    pub deadline: Option<Duration>,
}

/// Writes a report over what the tenant has and does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportUsage {
    /// From when on.
    pub from: DateTime<Utc>,
    /// Until when.
    pub to: DateTime<Utc>,
    /// Not part of the payload.
    #[serde(skip)]
    pub when: When,
}

impl Job for ReportUsage {
    const KIND: &'static str = "usage.report";
    const IS_VISIBLE: bool = true;

    fn may_belong_to(&self, tenant: Option<TenantId>) -> bool {
        tenant.is_some()
    }

    fn delay(&self) -> Duration {
        self.when.delay
    }

    fn deadline(&self) -> Option<Duration> {
        self.when.deadline
    }
}

/// Asks for an archive of the job's tenant and waits for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportOwnTenant {
    /// Not part of the payload.
    #[serde(skip)]
    pub when: When,
}

impl Job for ExportOwnTenant {
    const KIND: &'static str = "tenant.export";
    const QUEUE: Queue = Queue::Maintenance;
    const IS_VISIBLE: bool = true;

    /// One archive of a tenant at a time.
    fn unique_key(&self) -> Option<String> {
        Some("export".into())
    }

    fn may_belong_to(&self, tenant: Option<TenantId>) -> bool {
        tenant.is_some()
    }

    fn delay(&self) -> Duration {
        self.when.delay
    }

    fn deadline(&self) -> Option<Duration> {
        self.when.deadline
    }
}

/// Makes many resources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportResources {
    /// As they were sent; each is read when its turn comes.
    pub resources: Vec<Value>,
    /// Not part of the payload.
    #[serde(skip)]
    pub when: When,
}

impl Job for ImportResources {
    const KIND: &'static str = "resources.import";
    const IS_VISIBLE: bool = true;

    fn may_belong_to(&self, tenant: Option<TenantId>) -> bool {
        tenant.is_some()
    }

    fn delay(&self) -> Duration {
        self.when.delay
    }

    fn deadline(&self) -> Option<Duration> {
        self.when.deadline
    }
}

/// Tells the webhooks of the tenant that a job has ended. Written by the database with the end (`control.announce_job_end`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnounceJob {
    /// Which.
    pub job: Uuid,
    /// Its type.
    pub kind: String,
    /// `done`, `failed` or `cancelled`.
    pub state: String,
    /// When.
    pub at: DateTime<Utc>,
}

impl Job for AnnounceJob {
    const KIND: &'static str = "jobs.announce";

    fn may_belong_to(&self, tenant: Option<TenantId>) -> bool {
        tenant.is_some()
    }
}
