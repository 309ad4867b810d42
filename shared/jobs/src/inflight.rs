//! The leases this process holds, for the heartbeat to extend.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bulkhead_kernel::ids::{JobId, LeaseToken};
use tokio_util::sync::CancellationToken;

/// All attempts between claim and settlement.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inflight(Arc<Mutex<HashMap<LeaseToken, (JobId, CancellationToken)>>>);

/// One lease of ours. While it lives the heartbeat extends it; once dropped the lease runs out by itself.
#[derive(Debug)]
pub(crate) struct Held {
    token: LeaseToken,
    lost: CancellationToken,
    inflight: Inflight,
}

impl Inflight {
    /// Takes up a lease that was just claimed.
    pub(crate) fn hold(&self, job: JobId, token: LeaseToken) -> Held {
        let lost = CancellationToken::new();
        self.entries().insert(token, (job, lost.clone()));
        Held {
            token,
            lost,
            inflight: self.clone(),
        }
    }

    /// What is held now.
    pub(crate) fn list(&self) -> Vec<(JobId, LeaseToken)> {
        self.entries().iter().map(|(token, (job, _))| (*job, *token)).collect()
    }

    /// Tells the holder of the lease that it is somebody else's by now.
    pub(crate) fn lose(&self, token: LeaseToken) {
        if let Some((_, lost)) = self.entries().get(&token) {
            lost.cancel();
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<LeaseToken, (JobId, CancellationToken)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Cancelled once the lease is known to be lost.
    pub(crate) const fn lost(&self) -> &CancellationToken {
        &self.lost
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
        let held = inflight.hold(job, token);
        assert_eq!(inflight.list(), [(job, token)]);
        drop(held);
        assert_eq!(inflight.list(), []);
    }

    #[test]
    fn only_the_holder_of_a_lost_lease_is_told() {
        let inflight = Inflight::default();
        let (lost, kept) = (LeaseToken::new(), LeaseToken::new());
        let (loser, keeper) = (inflight.hold(JobId::new(), lost), inflight.hold(JobId::new(), kept));
        inflight.lose(lost);
        inflight.lose(LeaseToken::new());
        assert!(loser.lost().is_cancelled());
        assert!(!keeper.lost().is_cancelled());
    }
}
