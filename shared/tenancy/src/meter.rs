//! What a request or a job costs the database.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

tokio::task_local! {
    static CURRENT: DbMeter;
}

/// Counts what one piece of work asks of the database; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct DbMeter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    queries: AtomicU64,
    held_micros: AtomicU64,
    has_met_frozen: AtomicBool,
}

impl DbMeter {
    /// Counts everything that `work` does, except in tasks that it spawns.
    pub async fn measure<F: Future>(&self, work: F) -> F::Output {
        CURRENT.scope(self.clone(), work).await
    }

    /// How often a connection was asked for something; a message of several statements counts once.
    #[must_use]
    pub fn queries(&self) -> u64 {
        self.0.queries.load(Relaxed)
    }

    /// How long connections were held, in milliseconds.
    #[must_use]
    pub fn held_ms(&self) -> f64 {
        Duration::from_micros(self.0.held_micros.load(Relaxed)).as_secs_f64() * 1000.0
    }

    /// A tenant that is being moved was entered. The database says of a write there only that the transaction is
    /// read-only, as it does of one that is suspended so; this tells the two apart, for the caller's sake alone.
    pub(crate) fn meet_frozen() {
        if let Some(meter) = Self::current() {
            meter.0.has_met_frozen.store(true, Relaxed);
        }
    }

    pub(crate) fn has_met_frozen() -> bool {
        Self::current().is_some_and(|meter| meter.0.has_met_frozen.load(Relaxed))
    }

    pub(crate) fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    pub(crate) fn count_query(&self) {
        self.0.queries.fetch_add(1, Relaxed);
    }

    pub(crate) fn add_held(&self, held: Duration) {
        let micros = u64::try_from(held.as_micros()).unwrap_or_default();
        self.0.held_micros.fetch_add(micros, Relaxed);
    }
}
