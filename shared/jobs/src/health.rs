//! Whether a worker takes jobs.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

/// A view of one [`crate::Worker`]; it asks nothing of the database, whose absence would take down all workers at once.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<AtomicBool>);

impl Health {
    /// Whether the loop that takes jobs is alive: false before the start, while it is down, and from the moment it is
    /// told to stop.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.load(SeqCst)
    }

    pub(crate) fn set(&self, is_ready: bool) {
        self.0.store(is_ready, SeqCst);
    }
}
