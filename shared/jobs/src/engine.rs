//! What the loops of one worker share, and the statements they run.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bulkhead_kernel::{
    clock::Clock,
    config,
    ids::{LeaseToken, TenantId},
};
use bulkhead_tenancy::{Db, DbError};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    Registry,
    inflight::{Held, Inflight},
    outcome::Fate,
    store::{self, JobRow},
};

/// One worker of this process.
pub(crate) struct Engine {
    pub(crate) db: Db,
    pub(crate) registry: Registry,
    pub(crate) settings: config::Jobs,
    pub(crate) clock: Clock,
    /// Fresh with every start, so that no worker is ever taken for its predecessor.
    pub(crate) name: String,
    pub(crate) inflight: Inflight,
    /// Whose turn it was last.
    lane: Mutex<Uuid>,
    /// Something may be due.
    pub(crate) wake: Notify,
    /// All attempts, whichever loop started them.
    pub(crate) attempts: TaskTracker,
    /// Take no more jobs.
    pub(crate) soft_stop: CancellationToken,
    /// The grace is over: drop what runs and hand it back.
    pub(crate) hard_stop: CancellationToken,
}

/// A job under lease, on its way from the claim to its end.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) row: JobRow,
    pub(crate) held: Held,
}

impl Engine {
    pub(crate) fn new(db: Db, registry: Registry, settings: config::Jobs, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            db,
            registry,
            settings,
            clock,
            name: Uuid::now_v7().to_string(),
            inflight: Inflight::default(),
            lane: Mutex::new(Uuid::nil()),
            wake: Notify::new(),
            attempts: TaskTracker::new(),
            soft_stop: CancellationToken::new(),
            hard_stop: CancellationToken::new(),
        })
    }

    /// Leases a job that is due, of a kind that has a handler, from the tenant whose turn it is.
    pub(crate) async fn claim(&self) -> Result<Option<Claimed>, DbError> {
        let kinds: Vec<String> = self.registry.kinds().map(String::from).collect();
        let lane = *self.lane.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tx = self.db.control().await?;
        let row = store::claim(tx.conn(), &kinds, &self.name, self.settings.lease, lane, 1)
            .await?
            .pop();
        tx.commit().await?;
        if let Some(row) = &row {
            *self.lane.lock().unwrap_or_else(PoisonError::into_inner) = row.tenant.map_or(Uuid::max(), TenantId::uuid);
        }
        Ok(row.map(|row| Claimed {
            held: self.inflight.hold(row.id, row.attempt.token),
            row,
        }))
    }

    /// Ends the attempt; `false` when its lease was lost before.
    pub(crate) async fn settle(&self, row: &JobRow, fate: &Fate) -> Result<bool, DbError> {
        let mut tx = self.db.control().await?;
        let is_settled = store::settle(tx.conn(), row.id, row.attempt.token, fate, false).await?;
        if *fate == Fate::RELEASED {
            store::notify(tx.conn()).await?;
        }
        tx.commit().await?;
        Ok(is_settled)
    }

    /// Hands a claimed job back before it was started. Where that fails the lease runs out instead.
    pub(crate) async fn release(&self, claimed: Claimed) {
        if let Err(error) = self.settle(&claimed.row, &Fate::RELEASED).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a claimed job could not be handed back"
            );
        }
    }

    /// Extends all leases and tells the holders of those that are gone.
    pub(crate) async fn beat(&self) -> Result<(), DbError> {
        let held = self.inflight.list();
        if held.is_empty() {
            return Ok(());
        }
        let mut tx = self.db.control().await?;
        let kept: Vec<LeaseToken> = store::extend(tx.conn(), &held, self.settings.lease).await?;
        tx.commit().await?;
        for (_, token) in held.into_iter().filter(|(_, token)| !kept.contains(token)) {
            self.inflight.lose(token);
        }
        Ok(())
    }

    /// Sleeps, but not past the moment to stop. `false` when that has come.
    pub(crate) async fn pause(&self, duration: Duration) -> bool {
        tokio::select! {
            () = self.soft_stop.cancelled() => false,
            () = tokio::time::sleep(duration) => true,
        }
    }
}
