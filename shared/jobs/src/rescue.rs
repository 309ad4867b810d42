//! Finds jobs whose worker is gone, and waiting ones whose time is over. Every worker looks; the locks in the table keep
//! them apart.

use std::sync::Arc;

use bulkhead_kernel::telemetry::{fields, metrics};
use bulkhead_tenancy::DbError;

use crate::{
    Queue,
    engine::Engine,
    outcome::{Fate, OVERDUE, State},
    store::{self, Settlement},
};

/// Jobs rescued or buried in one transaction.
const BATCH: i64 = 200;

/// Looks at once, so that workers who die young rescue as well, and then every third of a lease until the stop.
pub(crate) async fn run(engine: Arc<Engine>) {
    loop {
        match rescue(&engine).await {
            Ok(0) => {}
            Ok(_) => engine.wake.notify_one(),
            Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "no jobs could be rescued"),
        }
        if let Err(error) = bury(&engine).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "no jobs could be given up");
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
        let settlements: Vec<Settlement> = expired
            .iter()
            .map(|job| Settlement {
                job: job.id,
                token: job.attempt.token,
                fate: Fate::after_lost_lease(job.lost_leases + 1, job.attempt, &engine.settings),
                is_lease_lost: true,
            })
            .collect();
        let states = store::settle(tx.conn(), &settlements, true).await?;
        tx.commit().await?;
        for job in &expired {
            let state = states.get(&job.attempt.token).copied();
            let (kind, queue) = (engine.kind(&job.kind), Queue::label(&job.queue));
            tracing::warn!({ fields::JOB_KIND } = kind, { fields::JOB_ID } = %job.id, ?state, "a lease ran out");
            metrics::jobs_rescued(kind, queue).increment(1);
            if state == Some(State::Dead) {
                metrics::jobs_dead(kind, queue).increment(1);
            }
        }
        n_rescued += expired.len();
        if expired.is_empty() {
            return Ok(n_rescued);
        }
    }
}

/// Ends waiting jobs whose deadline has passed.
async fn bury(engine: &Engine) -> Result<(), DbError> {
    loop {
        let mut tx = engine.db.control().await?;
        let died = store::bury_overdue(tx.conn(), OVERDUE, BATCH).await?;
        tx.commit().await?;
        for job in &died {
            let (kind, queue) = (engine.kind(&job.kind), Queue::label(&job.queue));
            tracing::error!({ fields::JOB_KIND } = kind, { fields::JOB_ID } = %job.id, "{OVERDUE}");
            metrics::jobs_dead(kind, queue).increment(1);
        }
        if died.is_empty() {
            return Ok(());
        }
    }
}
