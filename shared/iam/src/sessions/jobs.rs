//! Sessions that are long over are forgotten.

use bulkhead_jobs::{Job, Queue, Run};
use bulkhead_kernel::ids::TenantId;
use bulkhead_tenancy::DbError;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::store;

/// How long an ended session is kept, for those who look into what happened.
const KEPT: TimeDelta = TimeDelta::days(30);

/// Sessions removed in one transaction, with all their refresh tokens.
const BATCH: i64 = 500;

/// Removes sessions that ended long ago.
#[derive(Debug, Serialize, Deserialize)]
pub struct PruneSessions {}

impl Job for PruneSessions {
    const KIND: &'static str = "sessions.prune";
    const QUEUE: Queue = Queue::Maintenance;

    fn unique_key(&self) -> Option<String> {
        Some("all".into())
    }

    fn may_belong_to(&self, tenant: Option<TenantId>) -> bool {
        tenant.is_none()
    }
}

/// Removes them in batches. A refresh token of one that is gone is refused like any that never was.
pub async fn prune(run: &Run) -> Result<(), DbError> {
    let before = run.clock.now() - KEPT;
    loop {
        let mut tx = run.db().home().control().await?;
        let n_removed = store::delete_ended(&mut tx, before, BATCH).await?;
        run.hold_control(&mut tx).await?;
        tx.commit().await?;
        if n_removed < BATCH.unsigned_abs() {
            return Ok(());
        }
    }
}
