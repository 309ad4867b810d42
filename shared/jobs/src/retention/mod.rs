//! Finished jobs are kept for a while and then removed, so that the table does not grow without end.

mod store;

use bulkhead_kernel::{config, ids::TenantId};
use bulkhead_tenancy::DbError;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::{Job, Queue, Run};

/// Jobs removed in one transaction; each takes milliseconds and locks nothing that anybody waits for.
const BATCH: i64 = 1_000;

/// How long a worker that was killed is still listed.
const WORKERS: TimeDelta = TimeDelta::days(1);

/// Removes what was kept long enough.
#[derive(Debug, Serialize, Deserialize)]
pub struct PruneJobs {}

impl Job for PruneJobs {
    const KIND: &'static str = "jobs.prune";
    const QUEUE: Queue = Queue::Maintenance;

    fn unique_key(&self) -> Option<String> {
        Some("all".into())
    }

    fn may_belong_to(&self, tenant: Option<TenantId>) -> bool {
        tenant.is_none()
    }
}

/// Removes finished jobs past their time in batches, and with them old ticks, workers that are gone, and schedules that were
/// retired long ago. Interrupted anywhere, the next run goes on.
pub async fn prune(run: &Run, kept: &config::JobRetention) -> Result<(), DbError> {
    let now = run.clock.now();
    let (done, dead) = (now - days(kept.done_days), now - days(kept.dead_days));
    let mut n_removed = 0;
    loop {
        let mut tx = run.db().control().await?;
        let n = store::delete_finished(&mut tx, done, dead, BATCH).await?;
        run.hold_control(&mut tx).await?;
        tx.commit().await?;
        n_removed += n;
        if n < BATCH.unsigned_abs() {
            break;
        }
    }
    let mut tx = run.db().control().await?;
    store::delete_ticks(&mut tx, done).await?;
    store::delete_workers(&mut tx, now - WORKERS).await?;
    store::delete_retired(&mut tx, dead).await?;
    run.hold_control(&mut tx).await?;
    tx.commit().await?;
    tracing::info!(n_removed, "finished jobs were removed");
    Ok(())
}

fn days(days: i64) -> TimeDelta {
    TimeDelta::try_days(days).unwrap_or(TimeDelta::MAX)
}
