//! Migrating one tenant: what a version changes, the version and the row of the run commit together.

use std::error::Error as _;

use bulkhead_kernel::ids::{LeaseToken, MigrationRunId, TenantId};

use super::{
    FleetError, RunState,
    store::{
        self, Orders,
        tenant::{self as rows, Failure},
    },
};
use crate::{DbError, Lineage, OwnerTx, owner::Owners};

/// After so many tenants a connection is closed, and what its server process has learnt of their schemas with it.
const TENANTS_PER_CONNECTION: u32 = 100;

/// A tenant's commit need not reach the disk by itself: should the server crash, its schema, its version and its row are
/// lost together and done again. The commit that ends the run is flushed, and all before it with it.
pub(super) const UNFLUSHED: &str = "SET LOCAL synchronous_commit = off";

/// What a runner has at hand for every tenant.
pub(super) struct Bench<'a> {
    pub(super) lineage: &'a Lineage,
    pub(super) slots: &'a Owners,
    pub(super) run: MigrationRunId,
    pub(super) token: LeaseToken,
    pub(super) orders: Orders,
}

/// Why a tenant is not at the target.
struct Trouble {
    text: String,
    /// Whether it may go away by itself: a lock, a timeout, a connection.
    is_passing: bool,
}

impl Trouble {
    /// The server's first line and SQLSTATE. Its detail may hold values of the tenant's rows and is left out.
    fn of(what: &str, error: &DbError) -> Self {
        let (DbError::Failed(source) | DbError::Unavailable(Some(source))) = error else {
            return Self {
                text: format!("{what}: {error}"),
                is_passing: matches!(error, DbError::Unavailable(_)),
            };
        };
        let Some(cause) = source.as_database_error() else {
            let cause = source.source().map(ToString::to_string).unwrap_or_default();
            return Self {
                text: format!("{what}: {source} {cause}").trim_end().to_owned(),
                is_passing: true,
            };
        };
        let code = cause.code().unwrap_or_default();
        Self {
            text: format!("{what}: {} ({code})", cause.message()),
            is_passing: matches!(error, DbError::Unavailable(_)) || matches!(&*code, "40P01" | "40001"),
        }
    }
}

impl Bench<'_> {
    /// Brings the tenant to the target, or writes down why not. Fails only where not even that can be written.
    pub(super) async fn migrate(&self, tenant: TenantId, n_before: u32) -> Result<(), FleetError> {
        match self.try_migrate(tenant, n_before).await {
            Ok(()) => Ok(()),
            Err(trouble) => self.record(tenant, &trouble).await,
        }
    }

    async fn try_migrate(&self, tenant: TenantId, n_before: u32) -> Result<(), Trouble> {
        let mut is_first = true;
        loop {
            // After the last tenant of a connection its server process goes, and with it what that has learnt.
            let is_retired = is_first && n_before % TENANTS_PER_CONNECTION == TENANTS_PER_CONNECTION - 1;
            if !self.step(tenant, is_retired).await? {
                return Ok(());
            }
            is_first = false;
        }
    }

    /// One version further, in one transaction, so that no lock is held for longer than one migration takes. Gives
    /// whether there is more to do.
    async fn step(&self, tenant: TenantId, is_retired: bool) -> Result<bool, Trouble> {
        let before = |error: DbError| Trouble::of("before its migrations", &error);
        // Under the lock, and not before, the version is looked at: whoever comes second finds what the first has done.
        let first = format!(
            "{UNFLUSHED}; SELECT pg_advisory_xact_lock(hashtextextended('bulkhead.schema.{}', 0))",
            tenant.uuid().simple()
        );
        let orders = &self.orders;
        let begun = OwnerTx::begin_with(self.slots, orders.lock_timeout, orders.statement_timeout, &first).await;
        let mut tx = begun.map_err(before)?;
        if is_retired {
            tx.retire();
        }
        let look = rows::look(tx.conn(), self.run, self.token, tenant)
            .await
            .map_err(before)?;
        if !look.is_ours {
            return Ok(false);
        }
        let more = match look.version {
            Some(version) if !look.is_leaving => self.apply_next(&mut tx, tenant, version).await?,
            _ => {
                let skipped = rows::set_skipped(tx.conn(), self.run, tenant, "it is being deleted").await;
                skipped.map_err(before)?;
                false
            }
        };
        tx.commit()
            .await
            .map_err(|error| Trouble::of("at the commit", &error))?;
        Ok(more)
    }

    async fn apply_next(&self, tx: &mut OwnerTx, tenant: TenantId, version: i64) -> Result<bool, Trouble> {
        let target = self.orders.target;
        let Some(mut missing) = self.lineage.between(version, target) else {
            return Err(Trouble {
                text: format!("its version {version} is older than the first baseline of this build"),
                is_passing: false,
            });
        };
        let mut reached = version;
        if let Some(migration) = missing.next() {
            let at = |error: DbError| Trouble::of(&migration.name, &error);
            tx.apply_migration(tenant, migration).await.map_err(at)?;
            tx.grant_tenant_tables(tenant).await.map_err(at)?;
            rows::set_version(tx.conn(), tenant, migration.version)
                .await
                .map_err(at)?;
            reached = migration.version;
        }
        if reached < target {
            return Ok(true);
        }
        let done = rows::set_done(tx.conn(), self.run, tenant).await;
        done.map_err(|error| Trouble::of("after its migrations", &error))?;
        Ok(false)
    }

    async fn record(&self, tenant: TenantId, trouble: &Trouble) -> Result<(), FleetError> {
        let mut tx = OwnerTx::begin(self.slots).await?;
        // Failures are written one after the other, so that each sees all others when it looks at the budget.
        let run = store::lock_run(tx.conn(), self.run)
            .await?
            .ok_or(FleetError::NotFound)?;
        let failure = Failure {
            error: &trouble.text,
            is_passing: trouble.is_passing,
            max_attempts: self.orders.max_attempts,
        };
        let failed = rows::set_failed(tx.conn(), self.run, self.token, tenant, &failure).await?;
        if let Some(failed) = failed.filter(|failed| failed.is_given_up) {
            tracing::warn!(tenant.id = %tenant, error = trouble.text, "a tenant could not be migrated");
            let n_failed = rows::count_failed(tx.conn(), self.run).await? - run.accepted_failures;
            let reason = if failed.is_canary {
                Some(format!("the canary {} failed", failed.slug))
            } else if n_failed > run.max_failures {
                let max = run.max_failures;
                Some(format!("{n_failed} tenants failed, and no more than {max} may"))
            } else {
                None
            };
            if let Some(reason) = reason.filter(|_| run.state == RunState::Running) {
                store::set_state(tx.conn(), self.run, RunState::Stopped, Some(&reason)).await?;
            }
        }
        Ok(tx.commit().await?)
    }
}
