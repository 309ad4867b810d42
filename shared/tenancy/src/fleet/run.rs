//! Carrying a run out.

use std::time::Duration;

use bulkhead_kernel::ids::{LeaseToken, MigrationRunId};
use futures_util::future::try_join_all;
use tokio::time::{Instant, interval, sleep, timeout};

use super::{
    Fleet, FleetError, RunState, RunStatus,
    store::{self, Orders, tenant as rows},
    tenant::{Bench, UNFLUSHED},
};
use crate::{DbError, OwnerTx, owner::Owners};

/// How long a runner holds a run without a sign of life. After a SIGKILL the next one waits this long.
const LEASE: Duration = Duration::from_secs(5);

/// Between two signs of life.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// Between two looks of a worker that finds nothing to do while others are at work.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// How many tenants a worker claims at a time.
const BATCH: i64 = 8;

impl Fleet {
    /// Migrates tenants until the run is over or somebody stops it, and tells how it then stands. Waits as long as a lease
    /// lasts for a runner that may be dead; [`FleetError::Leased`] when that one turns out to be alive. Dropped half-way
    /// it leaves nothing half done.
    pub async fn carry_out(&self, run: MigrationRunId) -> Result<RunStatus, FleetError> {
        let token = LeaseToken::new();
        if let Some(orders) = self.take(run, token).await? {
            // One more for signs of life, which must not wait behind a migration.
            let slots = self.db.owners("fleet", usize::from(orders.workers) + 1);
            let bench = Bench {
                lineage: &self.lineage,
                slots: &slots,
                run,
                token,
                orders,
            };
            let ended = tokio::select! {
                ended = work(&bench) => ended,
                error = keep_alive(&slots, run, token) => Err(error),
            };
            let mut tx = OwnerTx::begin(&slots).await?;
            store::release(tx.conn(), run, token).await?;
            tx.commit().await?;
            ended?;
        }
        self.status(run).await
    }

    async fn status(&self, run: MigrationRunId) -> Result<RunStatus, FleetError> {
        let mut tx = self.db.control().await?;
        let status = super::get(&mut tx, run).await?;
        tx.commit().await?;
        Ok(status)
    }

    /// The run's orders, or nothing when it is not running.
    async fn take(&self, run: MigrationRunId, token: LeaseToken) -> Result<Option<Orders>, FleetError> {
        let until = Instant::now() + LEASE + RENEW_EVERY;
        loop {
            let mut tx = self.db.control().await?;
            let orders = store::take_lease(tx.conn(), run, token, LEASE).await?;
            let status = super::get(&mut tx, run).await?;
            if status.target > self.head() {
                return Err(FleetError::UnknownTarget {
                    target: status.target,
                    head: self.head(),
                });
            }
            tx.commit().await?;
            if orders.is_some() || status.state != RunState::Running {
                return Ok(orders);
            }
            if Instant::now() > until {
                return Err(FleetError::Leased(run));
            }
            sleep(LOOK_EVERY * 4).await;
        }
    }
}

/// Ends with an error when the lease is lost.
async fn keep_alive(slots: &Owners, run: MigrationRunId, token: LeaseToken) -> FleetError {
    let mut ticks = interval(RENEW_EVERY);
    let mut known = Instant::now();
    loop {
        ticks.tick().await;
        let renewed = async {
            let mut tx = OwnerTx::begin(slots).await?;
            let is_ours = store::renew_lease(tx.conn(), run, token, LEASE).await?;
            tx.commit().await?;
            Ok::<_, DbError>(is_ours)
        };
        match timeout(LEASE, renewed).await {
            Ok(Ok(true)) => known = Instant::now(),
            // One bad moment of the database is no reason to drop what is under way.
            Ok(Err(error)) if known.elapsed() > LEASE => return error.into(),
            Ok(Err(_)) => {}
            Ok(Ok(false)) | Err(_) => return FleetError::LeaseLost,
        }
    }
}

async fn work(bench: &Bench<'_>) -> Result<(), FleetError> {
    loop {
        try_join_all((0..bench.orders.workers).map(|_| worker(bench))).await?;
        if finish(bench).await? {
            return Ok(());
        }
    }
}

/// Takes tenants until none is left or the run no longer runs.
async fn worker(bench: &Bench<'_>) -> Result<(), FleetError> {
    let mut n_done = 0;
    loop {
        let (lock, statement) = (Duration::from_secs(10), Duration::from_mins(1));
        let mut tx = OwnerTx::begin_with(bench.slots, lock, statement, UNFLUSHED).await?;
        let claimed = rows::claim(tx.conn(), bench.run, bench.token, BATCH).await?;
        let is_over = if claimed.is_empty() {
            let (n_open, is_ours) = rows::count_open(tx.conn(), bench.run, bench.token).await?;
            n_open == 0 || !is_ours
        } else {
            false
        };
        tx.commit().await?;
        if is_over {
            return Ok(());
        }
        if claimed.is_empty() {
            sleep(LOOK_EVERY).await;
        }
        for tenant in claimed {
            bench.migrate(tenant, n_done).await?;
            n_done += 1;
        }
    }
}

/// Ends the run if nothing is left of it; gives whether there is nothing more to do here.
async fn finish(bench: &Bench<'_>) -> Result<bool, FleetError> {
    let mut tx = OwnerTx::begin(bench.slots).await?;
    let locked = store::lock_run(tx.conn(), bench.run)
        .await?
        .ok_or(FleetError::NotFound)?;
    let (n_open, is_ours) = rows::count_open(tx.conn(), bench.run, bench.token).await?;
    if locked.state != RunState::Running || !is_ours {
        return Ok(true);
    }
    if n_open > 0 || rows::insert_late(tx.conn(), bench.run, bench.orders.target).await? > 0 {
        tx.commit().await?;
        return Ok(false);
    }
    let state = match rows::count_failed(tx.conn(), bench.run).await? {
        0 => RunState::Done,
        _ => RunState::Failed,
    };
    store::set_state(tx.conn(), bench.run, state, None).await?;
    tx.commit().await?;
    Ok(true)
}
