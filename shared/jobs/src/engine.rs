//! What the loops of one worker share, and the statements they run.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bulkhead_kernel::{clock::Clock, config, ids::LeaseToken};
use bulkhead_tenancy::{Db, DbError};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    Registry,
    inflight::{Held, Inflight},
    outcome::{Fate, State, is_suspect},
    settling::Settling,
    store::{self, JobRow, Settlement, Turn},
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
    turn: Mutex<Turn>,
    settling: Settling,
    kinds: Vec<String>,
    /// Something may be due.
    pub(crate) wake: Notify,
    /// A job under way may be cancelled.
    pub(crate) cancels: Notify,
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
            kinds: registry.kinds().map(String::from).collect(),
            registry,
            settings,
            clock,
            name: Uuid::now_v7().to_string(),
            inflight: Inflight::default(),
            turn: Mutex::default(),
            settling: Settling::default(),
            wake: Notify::new(),
            cancels: Notify::new(),
            attempts: TaskTracker::new(),
            soft_stop: CancellationToken::new(),
            hard_stop: CancellationToken::new(),
        })
    }

    /// Leases at most `limit` jobs that are due, of kinds that have a handler, from the tenants whose turn it is.
    pub(crate) async fn claim(self: &Arc<Self>, limit: usize) -> Result<Vec<Claimed>, DbError> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let turn = *self.turn();
        let mut tx = self.db.control().await?;
        let rows = store::claim(tx.conn(), &self.kinds, &self.name, self.settings.lease, turn, limit).await?;
        tx.commit().await?;
        *self.turn() = turn.after(&rows);
        Ok(rows.into_iter().filter_map(|row| self.take(row)).collect())
    }

    /// Takes a job up, unless it is suspected of killing workers and another suspect is here: which of two that die
    /// together is to blame could not be told.
    fn take(self: &Arc<Self>, row: JobRow) -> Option<Claimed> {
        let is_suspect = is_suspect(row.lost_leases);
        let is_put_off = is_suspect && self.inflight.has_suspect();
        let held = self.inflight.hold(row.id, row.attempt.token, is_suspect && !is_put_off);
        let claimed = Claimed { row, held };
        if is_put_off {
            self.hand_back(claimed, Fate::put_off(self.settings.heartbeat()));
            return None;
        }
        Some(claimed)
    }

    /// Ends the attempt, with others that end now; `None` when its lease was lost before.
    pub(crate) async fn settle(&self, row: &JobRow, fate: &Fate) -> Result<Option<State>, DbError> {
        let settlement = Settlement {
            job: row.id,
            token: row.attempt.token,
            fate: fate.clone(),
            is_lease_lost: false,
        };
        self.settling.settle(&self.db, settlement).await
    }

    /// Hands a claimed job back before it was started.
    pub(crate) fn release(self: &Arc<Self>, claimed: Claimed) {
        self.hand_back(claimed, Fate::RELEASED);
    }

    /// Where that fails the lease runs out instead.
    fn hand_back(self: &Arc<Self>, claimed: Claimed, fate: Fate) {
        let engine = self.clone();
        self.attempts.spawn(async move {
            if let Err(error) = engine.settle(&claimed.row, &fate).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a claimed job could not be handed back"
                );
            }
        });
    }

    /// The name of a kind as the code spells it; the table may have any.
    pub(crate) fn kind(&self, name: &str) -> &'static str {
        self.registry.get(name).map_or("unknown", |(kind, _)| kind)
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
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
