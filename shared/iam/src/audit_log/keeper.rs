//! The loop that seals, attests and trims the audit logs of all tenants. It takes no input and keeps nothing in memory;
//! any number of workers may run it.

use std::{error::Error, path::PathBuf, time::Duration};

use bulkhead_audit::chain::{self, Head};
use bulkhead_kernel::{
    clock::Clock,
    config::{self, Config},
    ids::TenantId,
    telemetry::fields,
};
use bulkhead_tenancy::{Db, DbError};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{AuditError, Checkpoints};
use crate::tokens::Keys;

/// Between two looks for rows that are older than they are kept.
const TRIM_EVERY: Duration = Duration::from_mins(5);

/// Tenants asked for at once.
const TENANTS: i64 = 200;

/// Keeps the audit logs; cheap to clone.
#[derive(Clone)]
pub struct Keeper {
    db: Db,
    clock: Clock,
    settings: config::Audit,
    checkpoints: Checkpoints,
    /// Read when a checkpoint is written, so that a new key signs from then on.
    keys_dir: PathBuf,
    issuer: String,
}

impl Keeper {
    /// One that works as the settings say.
    #[must_use]
    pub fn new(db: Db, config: &Config, clock: Clock) -> Self {
        Self {
            db,
            clock,
            checkpoints: Checkpoints::new(&config.audit.checkpoints_dir),
            settings: config.audit.clone(),
            keys_dir: config.auth.keys_dir.clone(),
            issuer: config.auth.issuer.clone(),
        }
    }

    /// Works until told to stop. An error ends a round, never the loop.
    pub async fn run(&self, stop: CancellationToken) {
        let mut trimmed: Option<Instant> = None;
        while !stop.is_cancelled() {
            report("carrying", self.carry().await);
            report("sealing", self.seal(&stop).await);
            report("attesting", self.attest(&stop).await);
            if trimmed.is_none_or(|at| at.elapsed() >= TRIM_EVERY) {
                report("trimming", self.trim(&stop).await);
                trimmed = Some(Instant::now());
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(self.settings.seal) => {}
            }
        }
    }

    /// Takes what was recorded at home to the logs of tenants that live elsewhere.
    pub async fn carry(&self) -> Result<(), AuditError> {
        if self.db.cluster().is_home() {
            bulkhead_audit::carrier::carry_all(&self.db).await?;
        }
        Ok(())
    }

    /// Seals everything that waits. A tenant whose log cannot be sealed keeps no other one waiting.
    pub async fn seal(&self, stop: &CancellationToken) -> Result<(), AuditError> {
        let mut after = None;
        loop {
            let mut tx = self.db.control().await?;
            let tenants = chain::list_waiting(&mut tx, after, TENANTS).await?;
            tx.commit().await?;
            let Some(last) = tenants.last().copied() else {
                return Ok(());
            };
            for tenant in tenants {
                if stop.is_cancelled() {
                    return Ok(());
                }
                note(tenant, "sealing", self.seal_one(tenant).await);
            }
            after = Some(last);
        }
    }

    async fn seal_one(&self, tenant: TenantId) -> Result<(), AuditError> {
        let mut tx = self.db.owner().await?;
        chain::seal(&mut tx, tenant).await?;
        Ok(tx.commit().await?)
    }

    /// Signs where the chains end that have grown since their last checkpoint.
    pub async fn attest(&self, stop: &CancellationToken) -> Result<(), AuditError> {
        let interval = TimeDelta::from_std(self.settings.checkpoint).unwrap_or(TimeDelta::seconds(30));
        let mut after = None;
        loop {
            let mut tx = self.db.control().await?;
            let before = self.clock.now() - interval;
            let tenants = chain::list_unattested(&mut tx, before, after, TENANTS).await?;
            tx.commit().await?;
            let Some(last) = tenants.last().copied() else {
                return Ok(());
            };
            let keys = Keys::load(&self.keys_dir)?;
            for tenant in tenants {
                if stop.is_cancelled() {
                    return Ok(());
                }
                note(tenant, "attesting", self.attest_one(&keys, tenant).await);
            }
            after = Some(last);
        }
    }

    async fn attest_one(&self, keys: &Keys, tenant: TenantId) -> Result<(), AuditError> {
        let mut tx = self.db.owner().await?;
        let Some(head) = chain::lock_head(&mut tx, tenant).await? else {
            return Ok(());
        };
        let at = self.write(keys, tenant, &head)?;
        chain::set_attested(&mut tx, tenant, head.end.seq, at).await?;
        Ok(tx.commit().await?)
    }

    /// The time that the checkpoint bears.
    fn write(&self, keys: &Keys, tenant: TenantId, head: &Head) -> Result<DateTime<Utc>, AuditError> {
        let at = self.clock.now();
        self.checkpoints.write(keys, &self.issuer, tenant, head, at)?;
        Ok(at)
    }

    /// Removes what is older than each tenant keeps it, from the front of the chains, and what waits for tenants that are
    /// gone.
    pub async fn trim(&self, stop: &CancellationToken) -> Result<(), AuditError> {
        let mut after = None;
        loop {
            let mut tx = self.db.control().await?;
            bulkhead_audit::delete_orphans(&mut tx).await?;
            let days = self.settings.retention_days;
            let overdue = chain::list_overdue(&mut tx, self.clock.now(), days, after, TENANTS).await?;
            tx.commit().await?;
            let Some((last, _)) = overdue.last().copied() else {
                return Ok(());
            };
            let keys = Keys::load(&self.keys_dir)?;
            for (tenant, cutoff) in overdue {
                while !stop.is_cancelled() {
                    match self.trim_one(&keys, tenant, cutoff).await {
                        Ok(true) => {}
                        Ok(false) => break,
                        Err(error) => {
                            note(tenant, "trimming", Err(error));
                            break;
                        }
                    }
                }
            }
            after = Some(last);
        }
    }

    /// `false` when nothing was left to remove. The checkpoint goes first: what it allows to be missing may still be there.
    async fn trim_one(&self, keys: &Keys, tenant: TenantId, cutoff: DateTime<Utc>) -> Result<bool, AuditError> {
        let mut tx = self.db.owner().await?;
        let Some(head) = chain::lock_head(&mut tx, tenant).await? else {
            return Ok(false);
        };
        let Some(base) = chain::find_trim(&mut tx, cutoff).await? else {
            return Ok(false);
        };
        let head = Head { base, ..head };
        let at = self.write(keys, tenant, &head)?;
        chain::trim(&mut tx, tenant, &head, &head.base).await?;
        chain::set_attested(&mut tx, tenant, head.end.seq, at).await?;
        tx.commit().await?;
        Ok(true)
    }
}

fn report(what: &str, result: Result<(), AuditError>) {
    if let Err(error) = result {
        tracing::warn!(error = &error as &dyn Error, what, "a round over audit logs failed");
    }
}

/// A tenant that is being purged or moved away may fail; the others go on.
fn note(tenant: TenantId, what: &str, result: Result<(), AuditError>) {
    match result {
        Ok(()) | Err(AuditError::Database(DbError::TenantNotFound)) => {}
        Err(error) => tracing::warn!(
            { fields::TENANT_ID } = %tenant,
            error = &error as &dyn Error,
            what,
            "an audit log could not be kept",
        ),
    }
}
