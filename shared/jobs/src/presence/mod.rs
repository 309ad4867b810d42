//! Which workers live and what they have handlers for; and what becomes of jobs that none of them knows.
//!
//! A job of a kind that no living worker has a handler for is parked: it keeps its place and its attempts, no claim looks at
//! it, and a worker that knows its kind frees it when it starts.

mod store;

use std::{error::Error, sync::Arc, time::Duration};

use bulkhead_kernel::telemetry::metrics;
use bulkhead_tenancy::{ControlTx, DbError};
use chrono::{DateTime, Utc};

use crate::engine::Engine;

/// Jobs parked or freed in one transaction.
const BATCH: i64 = 5_000;

/// The eldest worker looks for unknown kinds with every so many signs of life.
const LOOK: u32 = 6;

/// A worker that lives, or was heard of a moment ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// Fresh with every start.
    pub name: String,
    /// The release it runs.
    pub version: String,
    /// What it has handlers for, in order.
    pub kinds: Vec<String>,
    /// How many jobs it runs at a time.
    pub concurrency: i32,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it last gave a sign of life.
    pub last_seen_at: DateTime<Utc>,
}

/// Jobs of one kind that wait for a worker with a handler for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// The kind.
    pub kind: String,
    /// How many.
    pub n_jobs: i64,
    /// Since when the oldest of them has been due.
    pub oldest_run_at: DateTime<Utc>,
}

/// All workers that were not told to stop, the eldest first; one that was killed is listed for a day.
pub async fn list(tx: &mut ControlTx) -> Result<Vec<Presence>, DbError> {
    store::list(tx.conn()).await
}

/// The kinds that no living worker knows, and what waits for one that does.
pub async fn list_unknown(tx: &mut ControlTx) -> Result<Vec<Unknown>, DbError> {
    store::list_unknown(tx.conn()).await
}

/// Gives signs of life as often as the leases are extended, until the worker takes no more jobs.
pub(crate) async fn run(engine: Arc<Engine>, concurrency: usize) {
    let mut n_beats = 0_u32;
    loop {
        if let Err(error) = beat(&engine, concurrency, n_beats).await {
            tracing::debug!(error = &error as &dyn Error, "the worker could not say that it lives");
        } else {
            n_beats = n_beats.wrapping_add(1);
        }
        if !engine.pause(engine.settings.heartbeat()).await {
            break;
        }
    }
    if let Err(error) = leave(&engine).await {
        tracing::debug!(error = &error as &dyn Error, "the worker could not say that it goes");
    }
}

/// One sign of life. The first one frees what waited for this worker; the eldest one sorts what all of them know.
async fn beat(engine: &Engine, concurrency: usize, n_beats: u32) -> Result<(), DbError> {
    let kinds: Vec<String> = engine.registry.kinds().map(String::from).collect();
    let concurrency = i32::try_from(concurrency).unwrap_or(i32::MAX);
    let mut tx = engine.db.control().await?;
    store::announce(tx.conn(), &engine.name, env!("CARGO_PKG_VERSION"), &kinds, concurrency).await?;
    let living = store::list_living(tx.conn(), within(engine)).await?;
    tx.commit().await?;
    if n_beats == 0 {
        free(engine, &kinds).await?;
    }
    let is_eldest = living.first().is_some_and(|(name, _)| *name == engine.name);
    if is_eldest && n_beats.is_multiple_of(LOOK) {
        let mut known: Vec<String> = living.into_iter().flat_map(|(_, kinds)| kinds).collect();
        known.sort();
        known.dedup();
        sort(engine, &known).await?;
    }
    Ok(())
}

/// How long a worker that says nothing is believed to live: two leases, so that one which hangs for a moment keeps its kinds.
fn within(engine: &Engine) -> Duration {
    engine.settings.lease * 2
}

/// Frees jobs of known kinds and parks those of all others.
async fn sort(engine: &Engine, known: &[String]) -> Result<(), DbError> {
    free(engine, known).await?;
    let mut tx = engine.db.control().await?;
    let unknown = store::list_queued_beside(tx.conn(), known).await?;
    tx.commit().await?;
    if !unknown.is_empty() {
        tracing::warn!(?unknown, "no worker has a handler for these jobs; they are parked");
    }
    while !unknown.is_empty() {
        let mut tx = engine.db.control().await?;
        let n_parked = store::park_unknown(tx.conn(), &unknown, BATCH).await?;
        tx.commit().await?;
        if n_parked < BATCH.unsigned_abs() {
            break;
        }
    }
    let mut tx = engine.db.control().await?;
    let waiting = store::list_unknown(tx.conn()).await?;
    tx.commit().await?;
    let n_waiting: i64 = waiting.iter().map(|unknown| unknown.n_jobs).sum();
    let n_waiting = f64::from(u32::try_from(n_waiting).unwrap_or(u32::MAX));
    metrics::jobs_unknown(&engine.db.cluster().to_string()).set(n_waiting);
    Ok(())
}

async fn free(engine: &Engine, kinds: &[String]) -> Result<(), DbError> {
    loop {
        let mut tx = engine.db.control().await?;
        let n_freed = store::free_known(tx.conn(), kinds, BATCH).await?;
        if n_freed > 0 {
            crate::store::notify(tx.conn()).await?;
        }
        tx.commit().await?;
        if n_freed < BATCH.unsigned_abs() {
            return Ok(());
        }
    }
}

async fn leave(engine: &Engine) -> Result<(), DbError> {
    let mut tx = engine.db.control().await?;
    store::delete(tx.conn(), &engine.name).await?;
    tx.commit().await
}
