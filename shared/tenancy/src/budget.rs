//! How many connections there may be, over all shards together.
//!
//! A connection takes its leave from here before it is made and gives it back when it is closed, so nothing that goes on
//! elsewhere can exceed the total. Usually the shards' shares add up to no more than it, and nobody waits; with more shards
//! than connections, and while shares change, who needs one closes an idle one of another shard.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::DbError;

/// Leave for one connection, for as long as it is open.
pub(crate) type Leave = OwnedSemaphorePermit;

/// A set of connections that can do without an idle one.
pub(crate) trait Spare: Send + Sync {
    /// Closes one that is idle, if there is one.
    fn close_one_idle(&self) -> bool;
}

/// The leave for all connections of one pool.
pub(crate) struct Budget {
    leave: Arc<Semaphore>,
    wanted: AtomicUsize,
    sets: Mutex<VecDeque<Weak<dyn Spare>>>,
}

impl Budget {
    pub(crate) fn new(total: usize) -> Self {
        Self {
            leave: Arc::new(Semaphore::new(total)),
            wanted: AtomicUsize::new(0),
            sets: Mutex::default(),
        }
    }

    /// From here on the set may be asked to close what is idle.
    pub(crate) fn enrol(&self, set: Weak<dyn Spare>) {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        sets.retain(|set| set.strong_count() > 0);
        sets.push_back(set);
    }

    /// Leave to make a connection, once there is some.
    pub(crate) async fn take(&self) -> Result<Leave, DbError> {
        if let Ok(leave) = Arc::clone(&self.leave).try_acquire_owned() {
            return Ok(leave);
        }
        // Whoever gives a connection back from now on closes it; what was given back before is found here.
        let _wanted = Wanted::one(&self.wanted);
        while self.close_one_idle() {
            // Somebody else may be faster.
            if let Ok(leave) = Arc::clone(&self.leave).try_acquire_owned() {
                return Ok(leave);
            }
        }
        let leave = Arc::clone(&self.leave).acquire_owned().await;
        leave.map_err(|_| DbError::Unavailable(None))
    }

    /// Each time another set is asked first.
    fn close_one_idle(&self) -> bool {
        let mut enrolled = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = enrolled.pop_front() {
            enrolled.push_back(first);
        }
        let sets: Vec<_> = enrolled.iter().filter_map(Weak::upgrade).collect();
        drop(enrolled);
        sets.iter().any(|set| set.close_one_idle())
    }

    /// Whether somebody waits for a connection to be closed.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(SeqCst) > 0
    }
}

struct Wanted<'a>(&'a AtomicUsize);

impl<'a> Wanted<'a> {
    fn one(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count)
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}
