//! `migrate`: the schema `control`, and the schemas of all tenants.

mod text;

use std::{path::PathBuf, time::Duration};

use bulkhead_kernel::{
    config::{Config, Section},
    fault::Fault as _,
    ids::{MigrationRunId, TenantId},
};
use bulkhead_tenancy::{
    ControlTx, Db, Lineage,
    fleet::{self, Budget, Fleet, FleetError, Options, RunState, RunStatus},
    migrations::migrate_control,
};
use clap::{Args, Subcommand};
use tokio::time::interval;

use super::{CliError, say};

/// Between two lines that say how far a run is.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// What to migrate, and how to steer it.
#[derive(Debug, Subcommand)]
pub(super) enum Migrate {
    /// Bring the schema `control` to the newest version (the default)
    Control,
    /// Show what a run would do now
    Plan(RunArgs),
    /// Bring all tenants to the newest version; goes on with a run whose process has died
    Run(RunArgs),
    /// Show a run, the newest one otherwise
    Status(Which),
    /// Try the failed tenants of a run again, all of them or those named, and carry the run out
    Retry {
        #[command(flatten)]
        which: Which,
        /// Only these, by id
        #[arg(long = "tenant", value_name = "ID")]
        tenants: Vec<TenantId>,
        #[command(flatten)]
        from: From,
    },
    /// Let the tenants under way finish and start no more
    Pause(Which),
    /// Accept what failed so far, let a paused or stopped run go on, and carry it out
    Resume {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        from: From,
    },
    /// Compare every tenant's schema with what its version says
    Drift(From),
}

/// Which run.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// The id of the run; the newest one otherwise
    run: Option<MigrationRunId>,
}

/// Which migrations.
#[derive(Debug, Args)]
pub(super) struct From {
    /// Take the tenants' migrations from this folder instead of this build, to rehearse them on a copy
    #[arg(long, value_name = "FOLDER")]
    migrations: Option<PathBuf>,
}

/// How to carry a run out.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The version to lead to; the newest one otherwise
    #[arg(long)]
    target: Option<i64>,
    /// Who goes first, by id or slug; one that fails stops the run
    #[arg(long = "canary", value_name = "TENANT")]
    canaries: Vec<String>,
    /// How many tenants may fail before the run stops, as a number or a percentage
    #[arg(long, default_value = "1%", value_parser = budget)]
    max_failures: Budget,
    /// How many tenants at a time
    #[arg(long, default_value_t = 4)]
    workers: u8,
    /// How often to try a tenant whose locks cannot be had
    #[arg(long, default_value_t = 6)]
    max_attempts: u8,
    /// Milliseconds to wait for a lock; the tenant's requests wait as long
    #[arg(long, default_value_t = 500)]
    lock_timeout_ms: u64,
    /// Milliseconds for one statement
    #[arg(long, default_value_t = 30_000)]
    statement_timeout_ms: u64,
    #[command(flatten)]
    from: From,
}

fn budget(text: &str) -> Result<Budget, fleet::MalformedBudget> {
    text.parse()
}

impl RunArgs {
    fn options(&self) -> Options {
        Options {
            target: self.target,
            canaries: self.canaries.clone(),
            budget: self.max_failures,
            workers: self.workers,
            max_attempts: self.max_attempts,
            lock_timeout: Duration::from_millis(self.lock_timeout_ms),
            statement_timeout: Duration::from_millis(self.statement_timeout_ms),
        }
    }
}

impl Migrate {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let config = super::config(&[Section::Database])?;
        if matches!(self, Self::Control) {
            return control(&config).await;
        }
        let at = At {
            db: Db::new(&config.database)?,
        };
        if let Self::Run(args) = &self {
            // One cluster after the other: what goes wrong goes wrong in one.
            for db in at.db.clusters() {
                At { db }.run(args).await?;
            }
            return Ok(());
        }
        match self {
            Self::Control | Self::Run(_) => Ok(()),
            Self::Plan(args) => {
                let plan = at.fleet(&args.from)?.plan(&args.options()).await.map_err(explained)?;
                say(text::plan(&plan).trim_end());
                Ok(())
            }
            Self::Status(which) => {
                let (status, named) = at.look(which.run).await.map_err(explained)?;
                say(text::status(&status, &named).trim_end());
                Ok(())
            }
            Self::Pause(which) => at.steer(which, async |tx, run| fleet::pause(tx, run).await).await,
            Self::Resume { which, from } => {
                let fleet = at.fleet(&from)?;
                let run = at.change(which, async |tx, run| fleet::resume(tx, run).await).await?;
                at.carry_out(&fleet, run).await
            }
            Self::Retry { which, tenants, from } => {
                let fleet = at.fleet(&from)?;
                let only = (!tenants.is_empty()).then_some(tenants.as_slice());
                let retry = async |tx: &mut ControlTx, run| fleet::retry(tx, run, only).await.map(|_| ());
                let run = at.change(which, retry).await?;
                at.carry_out(&fleet, run).await
            }
            Self::Drift(from) => {
                let report = at.fleet(&from)?.drift().await.map_err(explained)?;
                say(text::drift(&report).trim_end());
                match report.drifts.len() {
                    0 => Ok(()),
                    n => Err(CliError::Fallen(format!("{n} tenants are not what their version says"))),
                }
            }
        }
    }
}

async fn control(config: &Config) -> Result<(), CliError> {
    let home = &config.database;
    for database in [home].into_iter().chain(home.clusters.values()) {
        let logins = [&database.control_url, &database.tenant_url];
        let migrated = migrate_control(&database.owner_url, logins).await;
        migrated.map_err(|error| CliError::Migrate(error.into()))?;
    }
    say("The schema control is at the newest version.");
    Ok(())
}

/// Where the fleet is.
struct At {
    db: Db,
}

impl At {
    fn fleet(&self, from: &From) -> Result<Fleet, CliError> {
        let lineage = match &from.migrations {
            Some(folder) => Lineage::of_folder(folder)?,
            None => Lineage::product().clone(),
        };
        Ok(Fleet::new(self.db.clone(), lineage))
    }

    async fn run(&self, args: &RunArgs) -> Result<(), CliError> {
        let fleet = self.fleet(&args.from)?;
        let started = async {
            let mut tx = self.db.control().await?;
            let started = fleet.start(&mut tx, &args.options(), "system").await?;
            let status = fleet::get(&mut tx, started.0).await?;
            tx.commit().await?;
            Ok((status, started.1))
        };
        let (status, is_new) = started.await.map_err(explained)?;
        if status.state.is_finished() {
            say(text::status(&status, &[]).trim_end());
            return Ok(());
        }
        if !is_new {
            say(&format!("{} goes on.", status.id));
        }
        self.carry_out(&fleet, status.id).await
    }

    /// Carries it out and tells how far it is; fails unless it ends well.
    async fn carry_out(&self, fleet: &Fleet, run: MigrationRunId) -> Result<(), CliError> {
        let mut ticks = interval(TELL_EVERY);
        let carrying_out = fleet.carry_out(run);
        tokio::pin!(carrying_out);
        let ended = loop {
            tokio::select! {
                ended = &mut carrying_out => break ended.map_err(explained)?,
                _ = ticks.tick() => {
                    if let Ok((status, _)) = self.look(Some(run)).await {
                        say(&text::progress(&status));
                    }
                }
            }
        };
        let (status, named) = self.look(Some(run)).await.map_err(explained)?;
        say(text::status(&status, &named).trim_end());
        match ended.state {
            RunState::Done => Ok(()),
            state => Err(CliError::Fallen(format!("{run} is {}", state.as_str()))),
        }
    }

    async fn steer(
        &self,
        which: Which,
        change: impl AsyncFn(&mut ControlTx, MigrationRunId) -> Result<(), FleetError>,
    ) -> Result<(), CliError> {
        let run = self.change(which, change).await?;
        let (status, named) = self.look(Some(run)).await.map_err(explained)?;
        say(text::status(&status, &named).trim_end());
        Ok(())
    }

    async fn change(
        &self,
        which: Which,
        change: impl AsyncFn(&mut ControlTx, MigrationRunId) -> Result<(), FleetError>,
    ) -> Result<MigrationRunId, CliError> {
        let (status, _) = self.look(which.run).await.map_err(explained)?;
        let changed = async {
            let mut tx = self.db.control().await?;
            change(&mut tx, status.id).await?;
            Ok(tx.commit().await?)
        };
        changed.await.map_err(explained)?;
        Ok(status.id)
    }

    /// The run of this id, the newest one otherwise, and its tenants that failed or were skipped.
    async fn look(&self, run: Option<MigrationRunId>) -> Result<(RunStatus, Vec<fleet::MigratedTenant>), FleetError> {
        let mut tx = self.db.control().await?;
        let status = match run {
            Some(run) => fleet::get(&mut tx, run).await?,
            None => fleet::newest(&mut tx).await?.ok_or(FleetError::NotFound)?,
        };
        let named = fleet::named(&mut tx, status.id).await?;
        tx.commit().await?;
        Ok((status, named))
    }
}

/// What is wrong with the arguments is told in full.
fn explained(error: FleetError) -> CliError {
    let violations = error.violations();
    if violations.is_empty() {
        return CliError::Fleet(error);
    }
    let told: Vec<_> = violations
        .into_iter()
        .map(|violation| format!("{} {}", violation.pointer.trim_start_matches('/'), violation.detail))
        .collect();
    CliError::Argument(told.join("; "))
}
