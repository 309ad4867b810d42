//! The leases this process holds, for the heartbeat to extend.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bulkhead_kernel::ids::{JobId, LeaseToken};
use tokio_util::sync::CancellationToken;

/// All attempts between claim and settlement.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inflight(Arc<Mutex<HashMap<LeaseToken, Entry>>>);

#[derive(Debug)]
struct Entry {
    job: JobId,
    lost: CancellationToken,
    cancelled: CancellationToken,
    is_suspect: bool,
}

/// One lease of ours. While it lives the heartbeat extends it; once dropped the lease runs out by itself.
#[derive(Debug)]
pub(crate) struct Held {
    token: LeaseToken,
    lost: CancellationToken,
    cancelled: CancellationToken,
    inflight: Inflight,
}

impl Inflight {
    /// Takes up a lease that was just claimed. A suspect is a job that is dead when its worker dies once more.
    pub(crate) fn hold(&self, job: JobId, token: LeaseToken, is_suspect: bool) -> Held {
        let (lost, cancelled) = (CancellationToken::new(), CancellationToken::new());
        let entry = Entry {
            job,
            lost: lost.clone(),
            cancelled: cancelled.clone(),
            is_suspect,
        };
        self.entries().insert(token, entry);
        Held {
            token,
            lost,
            cancelled,
            inflight: self.clone(),
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether there is a suspect among them.
    pub(crate) fn has_suspect(&self) -> bool {
        self.entries().values().any(|entry| entry.is_suspect)
    }

    /// What is held now.
    pub(crate) fn list(&self) -> Vec<(JobId, LeaseToken)> {
        self.entries()
            .iter()
            .map(|(token, entry)| (entry.job, *token))
            .collect()
    }

    /// Tells the holder of the lease that it is somebody else's by now.
    pub(crate) fn lose(&self, token: LeaseToken) {
        if let Some(entry) = self.entries().get(&token) {
            entry.lost.cancel();
        }
    }

    /// Tells the holder of the lease that nobody wants its job any more.
    pub(crate) fn cancel(&self, token: LeaseToken) {
        if let Some(entry) = self.entries().get(&token) {
            entry.cancelled.cancel();
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<LeaseToken, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Cancelled once the lease is known to be lost.
    pub(crate) const fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Cancelled once the job is to end.
    pub(crate) const fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.inflight.entries().remove(&self.token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_extended_only_while_it_is_held() {
        let inflight = Inflight::default();
        let (job, token) = (JobId::new(), LeaseToken::new());
        let held = inflight.hold(job, token, false);
        assert_eq!(inflight.list(), [(job, token)]);
        drop(held);
        assert_eq!(inflight.list(), []);
    }

    #[test]
    fn only_the_holder_of_a_lost_lease_is_told() {
        let inflight = Inflight::default();
        let (lost, kept) = (LeaseToken::new(), LeaseToken::new());
        let (loser, keeper) = (
            inflight.hold(JobId::new(), lost, false),
            inflight.hold(JobId::new(), kept, false),
        );
        inflight.lose(lost);
        inflight.lose(LeaseToken::new());
        assert!(loser.lost().is_cancelled());
        assert!(!keeper.lost().is_cancelled());
        assert!(!loser.cancelled().is_cancelled());
    }

    #[test]
    fn only_the_holder_of_a_cancelled_job_is_told() {
        let inflight = Inflight::default();
        let (unwanted, wanted) = (LeaseToken::new(), LeaseToken::new());
        let (ending, going_on) = (
            inflight.hold(JobId::new(), unwanted, false),
            inflight.hold(JobId::new(), wanted, false),
        );
        inflight.cancel(unwanted);
        inflight.cancel(LeaseToken::new());
        assert!(ending.cancelled().is_cancelled());
        assert!(!going_on.cancelled().is_cancelled());
        assert!(!ending.lost().is_cancelled());
    }
}
