//! Making a tenant from an archive, in the worker: an onboarding whose steps fill tables.
//!
//! Each table is a step, so a load commits together with the word that it is done, and a worker that follows a killed one
//! goes on with the next table. The tenant opens with the last step. An archive that the database refuses ends the import
//! and leaves no tenant.

use bulkhead_iam::relinking::{self, Person};
use bulkhead_jobs::Run;
use bulkhead_kernel::{fault::Fault, ids::ImportId};
use bulkhead_tenancy::{Db, DbError, OwnerTx, SCHEMA_VERSION, Table};
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use tokio::fs;

use super::{
    ArchiveError, Archives, Manifest, MemberPolicy,
    jobs::ImportTenant,
    manifest::{SharedPart, TablePart, shared_file, table_file},
    reader::{self, Part},
    store::{self, MembershipLine},
};
use crate::{StepState, jobs::OnboardTenant, onboarding, store as tenant_store};

/// Parts the machines in a schema that was just filled from their providers, as of the moment of the export; compute
/// knows how.
pub type PartMachines = for<'a> fn(&'a mut OwnerTx, DateTime<Utc>) -> BoxFuture<'a, Result<(), DbError>>;

/// How many people are looked up at once.
const BATCH: usize = 500;

/// The longest line about a member.
const MAX_LINE_BYTES: usize = 16 * 1024;

/// One step. Names are kept in the database: a step may be added, never renamed.
enum Step<'m> {
    /// The same as in any onboarding.
    Usual(onboarding::Step),
    /// What is in the archive fits the tables that were made.
    Check,
    /// The rows of one table.
    Load(&'m TablePart),
    /// Who is let in.
    Members,
    /// Machines are parted from their providers.
    Machines,
    /// From here on the tenant can be entered.
    Activate,
}

fn steps(manifest: &Manifest) -> Vec<Step<'_>> {
    use onboarding::Step::{Migrations, Role, Schema};
    let mut steps: Vec<_> = [Role, Schema, Migrations].map(Step::Usual).into();
    steps.push(Step::Check);
    steps.extend(manifest.tables.iter().map(Step::Load));
    steps.extend([Step::Members, Step::Machines, Step::Activate]);
    steps
}

impl Step<'_> {
    fn name(&self) -> String {
        match self {
            Self::Usual(step) => step.name().into(),
            Self::Check => "check".into(),
            Self::Load(part) => format!("table:{}", part.table),
            Self::Members => "members".into(),
            Self::Machines => "machines".into(),
            Self::Activate => onboarding::Step::Activate.name().into(),
        }
    }
}

/// The names of all steps of an import of this archive, in order.
pub(super) fn step_names(manifest: &Manifest) -> Vec<String> {
    steps(manifest).iter().map(Step::name).collect()
}

/// Refuses rows of shared tables that nobody would read.
pub(super) fn check_shared(manifest: &Manifest) -> Result<(), ArchiveError> {
    let tables: Vec<&str> = manifest.shared.iter().map(|part| part.table.as_str()).collect();
    if tables == store::EXPORTED {
        Ok(())
    } else {
        let why = format!(
            "its rows of shared tables are not those of {}",
            store::EXPORTED.join(", ")
        );
        Err(ArchiveError::Invalid(why))
    }
}

/// Builds the tenant from wherever the last worker left it.
pub async fn run(
    run: &Run,
    job: ImportTenant,
    archives: &Archives,
    part_machines: PartMachines,
) -> Result<(), ArchiveError> {
    let import = Importing {
        run,
        job,
        archives,
        part_machines,
    };
    match import.build().await {
        Err(error) if error.is_final() => {
            let now = run.clock.now();
            give_up(run.db(), archives, job.import, &error, now, Some(run)).await?;
            Err(error)
        }
        result => result,
    }
}

/// Ends the import: the half-built tenant goes and its slug is free. Under the lease where a job does it. Done before:
/// nothing.
pub(super) async fn give_up(
    db: &Db,
    archives: &Archives,
    import: ImportId,
    error: &ArchiveError,
    now: DateTime<Utc>,
    lease: Option<&Run>,
) -> Result<(), ArchiveError> {
    let mut tx = db.owner().await?;
    if let Some(tenant) = store::lock_running(&mut tx, import).await? {
        tx.drop_unopened_tenant(tenant).await?;
        store::set_failed(&mut tx, import, tenant, error.code(), &error.detail(), now).await?;
        if let Some(run) = lease {
            run.hold_owner(&mut tx).await?;
        }
        tx.commit().await?;
        tracing::warn!(import.id = %import, error = error as &dyn std::error::Error, "an import was given up");
    }
    remove_upload(archives, import).await;
    Ok(())
}

/// What cannot be removed now is swept up later.
async fn remove_upload(archives: &Archives, import: ImportId) {
    let _ = fs::remove_file(archives.upload_of(import)).await;
}

struct Importing<'a> {
    run: &'a Run,
    job: ImportTenant,
    archives: &'a Archives,
    part_machines: PartMachines,
}

impl Importing<'_> {
    async fn build(&self) -> Result<(), ArchiveError> {
        let mut tx = self.run.db().owner().await?;
        let is_wanted = store::lock_running(&mut tx, self.job.import).await?.is_some();
        tx.commit().await?;
        if is_wanted {
            let manifest = reader::manifest(&self.archives.upload_of(self.job.import)).await?;
            for step in steps(&manifest) {
                if let Err(error) = self.run_step(&step, &manifest).await {
                    onboarding::record_failure(self.run, &step.name(), self.job.tenant, &error).await;
                    return Err(error);
                }
            }
        }
        remove_upload(self.archives, self.job.import).await;
        Ok(())
    }

    async fn run_step(&self, step: &Step<'_>, manifest: &Manifest) -> Result<(), ArchiveError> {
        let name = step.name();
        let mut tx = self.run.db().owner().await?;
        if tenant_store::lock_step(&mut tx, self.job.tenant, &name).await? != StepState::Done {
            self.apply(step, manifest, &mut tx).await?;
            tenant_store::finish_step(&mut tx, self.job.tenant, &name).await?;
            self.run.hold_owner(&mut tx).await?;
            tx.commit().await?;
            tracing::info!(tenant.id = %self.job.tenant, step = name, "import step done");
        }
        Ok(())
    }

    async fn apply(&self, step: &Step<'_>, manifest: &Manifest, tx: &mut OwnerTx) -> Result<(), ArchiveError> {
        let tenant = self.job.tenant;
        if !matches!(step, Step::Usual(_)) {
            tx.enter_tenant_schema(tenant).await?;
        }
        match step {
            Step::Usual(step) => {
                let (_, owner) = store::get_policy(tx, self.job.import).await?;
                step.apply(self.run, tx, None, OnboardTenant { tenant, owner }).await?;
            }
            Step::Check => check(&tx.tables().await?, manifest)?,
            Step::Load(part) => self.load(part, tx).await?,
            Step::Members => self.members(manifest, tx).await?,
            Step::Machines => (self.part_machines)(tx, manifest.created_at).await?,
            Step::Activate => {
                tenant_store::set_active(tx, tenant).await?;
                store::set_done(tx, self.job.import, self.run.clock.now()).await?;
            }
        }
        Ok(())
    }

    async fn load(&self, part: &TablePart, tx: &mut OwnerTx) -> Result<(), ArchiveError> {
        let table = known(&tx.tables().await?, part)?;
        let name = table_file(&part.table);
        let mut file = Part::open(&self.archives.upload_of(self.job.import), &name).await?;
        let mut rows = tx.copy_in(&table, self.archives.patience()).await?;
        while let Some(piece) = file.next().await? {
            rows.send(piece).await.map_err(|error| refused(&name, error))?;
        }
        let n_rows = rows.finish().await.map_err(|error| refused(&name, error))?;
        tx.end_copy_in(&table).await?;
        file.contents().check(&name, &part.contents)?;
        if n_rows == part.contents.rows {
            Ok(())
        } else {
            Err(ArchiveError::Invalid(format!("{name} does not hold one row a line")))
        }
    }

    async fn members(&self, manifest: &Manifest, tx: &mut OwnerTx) -> Result<(), ArchiveError> {
        let (policy, operator) = store::get_policy(tx, self.job.import).await?;
        let tenant = self.job.tenant;
        bulkhead_webhooks::close_imported(tx).await?;
        if policy == MemberPolicy::None {
            relinking::service::close_others(tx, tenant).await?;
            return Ok(relinking::service::install_owner(tx, tenant, operator).await?);
        }
        for part in &manifest.shared {
            self.relink(part, tx).await?;
        }
        Ok(relinking::service::close_others(tx, tenant).await?)
    }

    async fn relink(&self, part: &SharedPart, tx: &mut OwnerTx) -> Result<(), ArchiveError> {
        let name = shared_file(&part.table);
        let mut file = Part::open(&self.archives.upload_of(self.job.import), &name).await?;
        let mut line = Vec::new();
        let mut people = Vec::with_capacity(BATCH);
        while let Some(piece) = file.next().await? {
            for &byte in piece {
                if byte == b'\n' {
                    people.push(person(&name, &line)?);
                    line.clear();
                } else if line.len() < MAX_LINE_BYTES {
                    line.push(byte);
                } else {
                    return Err(ArchiveError::Invalid(format!("a line of {name} is too long")));
                }
                if people.len() == BATCH {
                    self.relink_batch(&name, &people, tx).await?;
                    people.clear();
                }
            }
        }
        self.relink_batch(&name, &people, tx).await?;
        file.contents().check(&name, &part.contents)
    }

    async fn relink_batch(&self, file: &str, people: &[Person], tx: &mut OwnerTx) -> Result<(), ArchiveError> {
        let relinked = relinking::service::relink(tx, self.job.tenant, people).await;
        relinked.map_err(|error| refused(file, error))
    }
}

fn person(file: &str, line: &[u8]) -> Result<Person, ArchiveError> {
    let line: MembershipLine = serde_json::from_slice(line)
        .map_err(|error| ArchiveError::Invalid(format!("a line of {file} cannot be read ({error})")))?;
    Ok(Person {
        id: line.identity_id,
        email: line.email,
        first_name: line.first_name,
        last_name: line.last_name,
        role: line.role,
        is_active: line.status == "active",
    })
}

/// Rows that the database refuses are the archive's fault; everything else is ours and is tried again.
fn refused(file: &str, error: DbError) -> ArchiveError {
    match error.refused_data() {
        Some(why) => ArchiveError::Invalid(format!("the database refuses {file} ({why})")),
        None => error.into(),
    }
}

/// The table of this part as the catalog knows it, with the columns of the part.
fn known(tables: &[Table], part: &TablePart) -> Result<Table, ArchiveError> {
    let table = tables.iter().find(|table| table.name() == part.table);
    let Some(table) = table else {
        return Err(ArchiveError::Invalid(format!(
            "there is no table {:?} here",
            part.table
        )));
    };
    table
        .only(&part.columns)
        .ok_or_else(|| ArchiveError::Invalid(format!("the columns of {:?} are not the ones here", part.table)))
}

/// Every table of the archive has its place. One that is missing in it is only right in an older archive.
fn check(tables: &[Table], manifest: &Manifest) -> Result<(), ArchiveError> {
    for part in &manifest.tables {
        known(tables, part)?;
    }
    let is_there = |table: &&Table| manifest.tables.iter().any(|part| part.table == table.name());
    match tables.iter().find(|table| !is_there(table)) {
        Some(table) if manifest.schema_version >= SCHEMA_VERSION => Err(ArchiveError::Invalid(format!(
            "it has no rows of the table {:?}, not even none",
            table.name()
        ))),
        _ => Ok(()),
    }
}
