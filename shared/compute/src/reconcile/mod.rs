//! Brings every VM where it should be: lease what is due, walk its operation's steps, look at those at rest.
//!
//! - `control.vm_work.due_at` is the truth about what is due; jobs and nudges only shorten the wait.
//! - Nothing is kept in memory between two turns. A worker may die at any point; the VM is due again when its lease
//!   ends, and the next worker goes on where the steps say, looking for what an unanswered call may have done.
//! - Each call to a provider is announced by a committed row and made with no transaction open. Its result is committed
//!   under the same lock and lease; a worker whose lease went to another can write nothing (BH410), and its calls carry
//!   an old epoch.
//! - Only a failed creation and a deletion undo anything. Everything else goes forward.
//! - An error ends a pass, never the loop.

mod apply;
mod call;
mod decide;
mod leases;
mod model;
mod store;
mod turn;

use std::{sync::Arc, time::Duration};

use bulkhead_kernel::{
    clock::Clock,
    ids::{TenantId, VmId},
};
use bulkhead_tenancy::{Db, DbError};
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use model::Settings;

use self::{
    model::{Lease, PassError, Rest},
    turn::{Next, Turn},
};
use crate::driver::Drivers;

/// The back-off after the first failure; it doubles with each.
const BACK_OFF: Duration = Duration::from_millis(500);

/// The longest back-off.
const LONGEST_BACK_OFF: Duration = Duration::from_mins(1);

/// The loop sleeps at least this long when something is about to be due.
const SHORTEST_WAIT: Duration = Duration::from_millis(10);

/// Brings VMs where they should be; cheap to clone.
#[derive(Clone)]
pub struct Reconciler {
    db: Db,
    drivers: Drivers,
    settings: Arc<Settings>,
    clock: Clock,
    nudge: Arc<Notify>,
}

impl Reconciler {
    /// One that works with these drivers.
    #[must_use]
    pub fn new(db: Db, drivers: Drivers, settings: Settings, clock: Clock) -> Self {
        Self {
            db,
            drivers,
            settings: Arc::new(settings),
            clock,
            nudge: Arc::new(Notify::new()),
        }
    }

    /// Makes [`Reconciler::run`] look for work now.
    pub fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Looks for work until told to stop, then finishes the passes under way.
    pub async fn run(&self, stop: CancellationToken) {
        let mut passes = JoinSet::new();
        while !stop.is_cancelled() {
            while passes.try_join_next().is_some() {}
            let room = self.settings.concurrency.saturating_sub(passes.len());
            let wait = self.look_for_work(&mut passes, room, &stop).await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.nudge.notified() => {}
                () = tokio::time::sleep(wait) => {}
                Some(_) = passes.join_next(), if !passes.is_empty() => {}
            }
        }
        while passes.join_next().await.is_some() {}
    }

    /// Starts a pass for each VM that is due, and gives how long there is nothing more to do.
    async fn look_for_work(&self, passes: &mut JoinSet<()>, room: usize, stop: &CancellationToken) -> Duration {
        if room == 0 {
            return self.settings.poll;
        }
        match self.claim(room).await {
            Ok((leases, next_due)) => {
                for lease in leases {
                    let (this, stop) = (self.clone(), stop.clone());
                    passes.spawn(async move { this.work(lease, &stop).await });
                }
                next_due.map_or(self.settings.poll, |due| due.clamp(SHORTEST_WAIT, self.settings.poll))
            }
            Err(error) => {
                tracing::warn!(%error, source = ?std::error::Error::source(&error), "cannot look for due machines");
                self.settings.poll.max(BACK_OFF)
            }
        }
    }

    async fn claim(&self, room: usize) -> Result<(Vec<Lease>, Option<Duration>), DbError> {
        let limit = i64::try_from(room).unwrap_or(i64::MAX);
        let mut tx = self.db.control().await?;
        let leases = leases::claim(&mut tx, &self.settings, limit).await?;
        let next_due = leases::find_next_due(&mut tx).await?;
        tx.commit().await?;
        Ok((leases, next_due))
    }

    /// One pass over one VM, if it is due and nobody else has it. Gives whether there was one.
    pub async fn run_vm(&self, tenant: TenantId, vm: VmId) -> Result<bool, DbError> {
        let mut tx = self.db.control().await?;
        let lease = leases::claim_one(&mut tx, &self.settings, tenant, vm).await?;
        tx.commit().await?;
        let Some(lease) = lease else { return Ok(false) };
        self.work(lease, &CancellationToken::new()).await;
        self.nudge();
        Ok(true)
    }

    /// A pass and the return of its lease. Whatever goes wrong, the lease ends by itself.
    #[tracing::instrument(name = "vms.reconcile", skip_all, fields(tenant.id = %lease.tenant, vm.id = %lease.vm))]
    async fn work(&self, lease: Lease, stop: &CancellationToken) {
        let result = self.pass(&lease, stop).await;
        let rest = match result {
            Ok(rest) => rest,
            Err(PassError::Lost) => {
                tracing::info!("the lease went to another worker");
                return;
            }
            Err(PassError::Moved) => {
                tracing::warn!(illegal_transition = true, "the vm moved on under its lease");
                Rest::BackOff {
                    at_least: Duration::ZERO,
                }
            }
            Err(error) => {
                tracing::warn!(%error, source = ?std::error::Error::source(&error), "pass failed");
                Rest::BackOff {
                    at_least: Duration::ZERO,
                }
            }
        };
        if let Err(error) = self.release(&lease, rest).await {
            tracing::warn!(%error, "cannot give the lease back; it ends by itself");
        }
    }

    async fn release(&self, lease: &Lease, rest: Rest) -> Result<(), DbError> {
        let (after, failures) = match rest {
            Rest::For(after) => (Some(after), 0),
            Rest::Never => (None, 0),
            Rest::BackOff { at_least } => (Some(back_off(lease).max(at_least)), lease.failures.saturating_add(1)),
        };
        let mut tx = self.db.control().await?;
        leases::release(&mut tx, lease, after, failures).await?;
        tx.commit().await
    }

    /// Turns and calls, one after the other, until the VM is at rest.
    async fn pass(&self, lease: &Lease, stop: &CancellationToken) -> Result<Rest, PassError> {
        let mut outcome = None;
        loop {
            let Some(mut turn) = Turn::begin(self, lease).await? else {
                return Ok(Rest::Never);
            };
            let rest = match outcome.take() {
                Some(outcome) => turn.apply(outcome).await?,
                None => None,
            };
            if let Some(rest) = rest {
                turn.tx.commit().await?;
                return Ok(rest);
            }
            let next = turn.advance().await?;
            turn.tx.commit().await?;
            match next {
                Next::Rest(rest) => return Ok(rest),
                Next::Call(_) if stop.is_cancelled() => return Ok(Rest::For(Duration::ZERO)),
                Next::Call(request) => outcome = Some(call::perform(*request, self.settings.lease / 2).await),
            }
        }
    }
}

/// Doubles with each failure and spreads by the VM's id, so that many do not come back at once.
fn back_off(lease: &Lease) -> Duration {
    let doublings = u32::try_from(lease.failures.clamp(0, 10)).unwrap_or_default();
    let base = (BACK_OFF * 2_u32.pow(doublings)).min(LONGEST_BACK_OFF);
    let [.., spread] = *lease.vm.uuid().as_bytes();
    base.mul_f64(0.75 + f64::from(spread) / 510.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_grows_and_stays_within_bounds() {
        let lease = |failures| Lease {
            vm: VmId::new(),
            tenant: TenantId::new(),
            epoch: 1,
            failures,
        };
        for (failures, middle) in [(0, 500), (1, 1_000), (4, 8_000), (7, 60_000), (i32::MAX, 60_000)] {
            let waited = back_off(&lease(failures)).as_millis();
            assert!(
                (middle * 3 / 4..=middle * 5 / 4).contains(&waited),
                "{failures}: {waited}"
            );
        }
    }
}
