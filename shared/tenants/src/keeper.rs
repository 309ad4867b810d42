//! The sweep: brings what hangs on a tenant's state to where the state is. It takes no input and keeps nothing in memory;
//! any number of workers may run it, each on its own time.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bulkhead_iam::memberships;
use bulkhead_kernel::{clock::Clock, config::Config, fault::Fault, ids::TenantId, telemetry::fields};
use bulkhead_tenancy::{Db, DbError};
use futures_util::future::BoxFuture;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{lifecycle, moves, placement, purge};

/// Purges taken up in one sweep.
const PURGES: i64 = 10;

/// Removes the machines of a tenant, and gives whether none is left. Machines are above this crate, so the process that
/// knows both brings the two together.
pub type RemoveMachines = Arc<dyn Fn(TenantId) -> BoxFuture<'static, Result<bool, Box<dyn Fault>>> + Send + Sync>;

/// Keeps tenants as their state says; cheap to clone.
#[derive(Clone)]
pub struct Keeper {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) remove_machines: RemoveMachines,
    /// Where the keys are that sign receipts. They are read when a receipt is written: a worker that purges nothing
    /// needs none.
    pub(crate) keys_dir: PathBuf,
    pub(crate) issuer: String,
    every: Duration,
}

impl Keeper {
    /// One that sweeps as the settings say.
    #[must_use]
    pub fn new(db: Db, config: &Config, clock: Clock, remove_machines: RemoveMachines) -> Self {
        Self {
            db,
            clock,
            remove_machines,
            keys_dir: config.auth.keys_dir.clone(),
            issuer: config.auth.issuer.clone(),
            every: config.tenants.sweep,
        }
    }

    /// Sweeps until told to stop. An error ends a sweep, never the loop.
    pub async fn run(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.sweep(&stop).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "a sweep over tenants failed");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(self.every) => {}
            }
        }
    }

    /// Parks and frees jobs first: somebody waits for that. Then what members changed is carried home. In a cluster that is all
    /// there is to do; the rest is swept at home.
    pub async fn sweep(&self, stop: &CancellationToken) -> Result<(), DbError> {
        while !stop.is_cancelled() && self.settle().await? {}
        memberships::carrier::carry_all(&self.db).await?;
        if !self.db.cluster().is_home() {
            return Ok(());
        }
        placement::service::follow_all(&self.db).await?;
        moves::service::resume_all(&self.db).await?;
        let mut tx = self.db.control().await?;
        let due = purge::store::list_due(&mut tx, PURGES).await?;
        tx.commit().await?;
        for tenant in due {
            if !stop.is_cancelled() {
                purge::run(self, tenant).await;
            }
        }
        Ok(())
    }

    /// A batch of jobs of one tenant; `false` when no tenant has any left to park or free.
    async fn settle(&self) -> Result<bool, DbError> {
        let mut tx = self.db.control().await?;
        let Some((tenant, is_parked)) = lifecycle::store::lock_settling(&mut tx).await? else {
            tx.commit().await?;
            return Ok(false);
        };
        let has_more = bulkhead_jobs::park(&mut tx, tenant, is_parked).await?;
        if !has_more {
            lifecycle::store::set_settled(&mut tx, tenant).await?;
            tracing::info!({ fields::TENANT_ID } = %tenant, is_parked, "tenant.jobs_settled");
        }
        tx.commit().await?;
        Ok(true)
    }
}
