//! Keys are kept for a while: a client that repeats a request does so within minutes.

use std::error::Error;

use bulkhead_jobs::{Job, Queue, Run};
use bulkhead_kernel::{ids::TenantId, telemetry::fields};
use bulkhead_tenancy::{Db, DbError};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::store;

/// How long a key is known at least.
const KEPT: TimeDelta = TimeDelta::days(7);

/// Keys removed in one transaction.
const BATCH: i64 = 5_000;

/// Tenants asked for at once.
const TENANTS: i64 = 200;

/// Removes old keys of all tenants, wherever they live.
#[derive(Debug, Serialize, Deserialize)]
pub struct PruneIdempotencyKeys {}

impl Job for PruneIdempotencyKeys {
    const KIND: &'static str = "idempotency_keys.prune";
    const QUEUE: Queue = Queue::Maintenance;

    fn unique_key(&self) -> Option<String> {
        Some("all".into())
    }

    fn may_belong_to(&self, tenant: Option<TenantId>) -> bool {
        tenant.is_none()
    }
}

/// Goes from tenant to tenant. One that cannot be entered now, because it is frozen, deleted or its cluster is away, is left for the
/// next time.
pub async fn prune(run: &Run) -> Result<(), DbError> {
    let (db, before) = (run.db().home(), run.clock.now() - KEPT);
    let mut after = None;
    loop {
        let mut tx = db.control().await?;
        let tenants = store::list_tenants(&mut tx, after, TENANTS).await?;
        tx.commit().await?;
        let Some(last) = tenants.last().copied() else {
            return Ok(());
        };
        for tenant in tenants {
            if let Err(error) = prune_one(&db, tenant, before).await {
                tracing::debug!(
                    { fields::TENANT_ID } = %tenant,
                    error = &error as &dyn Error,
                    "old keys of a tenant stay for now"
                );
            }
        }
        after = Some(last);
    }
}

async fn prune_one(db: &Db, tenant: TenantId, before: DateTime<Utc>) -> Result<(), DbError> {
    loop {
        let mut tx = db.tenant_for_platform(tenant).await?;
        let n_removed = store::delete_old(&mut tx, before, BATCH).await?;
        tx.commit().await?;
        if n_removed < BATCH.unsigned_abs() {
            return Ok(());
        }
    }
}
