//! Finds jobs whose worker is gone. Every worker looks; the locks in the table keep them apart.

use std::sync::Arc;

use bulkhead_kernel::telemetry::{fields, metrics};
use bulkhead_tenancy::DbError;

use crate::{engine::Engine, outcome::Fate, store};

/// Jobs rescued in one transaction.
const BATCH: i64 = 50;

/// Looks at once, so that workers who die young rescue as well, and then every third of a lease until the stop.
pub(crate) async fn run(engine: Arc<Engine>) {
    loop {
        match rescue(&engine).await {
            Ok(0) => {}
            Ok(_) => engine.wake.notify_one(),
            Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "no jobs could be rescued"),
        }
        if !engine.pause(engine.settings.heartbeat()).await {
            return;
        }
    }
}

/// Takes the jobs whose lease ran out from their workers, and says how many there were.
async fn rescue(engine: &Engine) -> Result<usize, DbError> {
    let mut n_rescued = 0;
    loop {
        let mut tx = engine.db.control().await?;
        let expired = store::lock_expired(tx.conn(), BATCH).await?;
        for job in &expired {
            let fate = Fate::after_lost_lease(job.lost_leases + 1, job.attempt, &engine.settings);
            store::settle(tx.conn(), job.id, job.attempt.token, &fate, true).await?;
            tracing::warn!({ fields::JOB_KIND } = job.kind, { fields::JOB_ID } = %job.id, ?fate, "a lease ran out");
        }
        tx.commit().await?;
        metrics::jobs_lost_leases().increment(expired.len() as u64);
        n_rescued += expired.len();
        if expired.is_empty() {
            return Ok(n_rescued);
        }
    }
}
