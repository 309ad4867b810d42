//! Writing an archive, in the worker.
//!
//! A snapshot cannot outlive the process that holds it, so an attempt that follows a killed one starts anew; what the
//! killed one wrote was never visible. The file gets its name in the transaction that says it is ready, under the lease.

use std::{path::Path, time::Duration};

use bulkhead_jobs::Run;
use bulkhead_tenancy::{ControlTx, Snapshot, Table, TenantTx};
use futures_util::TryStreamExt;
use tokio::{fs, time::Instant};

use super::{
    ArchiveError, Archives,
    jobs::ExportTenant,
    manifest::{FORMAT, Manifest, SharedPart, TablePart, shared_file, table_file},
    store::{self, Progress},
    writer::Writer,
};

/// Between two words to those who watch, while one large table is written.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Writes the archive that the export asks for. Done before: nothing.
pub async fn run(run: &Run, job: ExportTenant, archives: &Archives) -> Result<(), ArchiveError> {
    archives.remove_parts(job.export).await?;
    if !tell(run, job, Progress::default()).await? {
        return Ok(());
    }
    let part = archives.part_of(job.export);
    let written = write(run, job, archives, &part).await;
    if written.is_err() {
        // Whatever is left here is swept up later.
        let _ = fs::remove_file(&part).await;
    }
    written
}

async fn write(run: &Run, job: ExportTenant, archives: &Archives, part: &Path) -> Result<(), ArchiveError> {
    let now = run.clock.now();
    let Snapshot {
        mut control,
        mut tenant,
    } = run.db().snapshot(job.tenant, archives.patience()).await?;
    let (about, mut schema_version) = store::get_tenant(&mut control, job.tenant).await?;
    let cluster = run.db().of(job.tenant).await?;
    if !cluster.cluster().is_home() {
        let mut there = cluster.control().await?;
        schema_version = store::get_tenant(&mut there, job.tenant).await?.1;
        there.commit().await?;
    }
    let tables = tenant.tables().await?;
    let mut archive = Archive {
        run,
        job,
        to: Writer::create(part, now.timestamp()).await?,
        progress: Progress {
            tables_total: tables.len() + store::EXPORTED.len(),
            ..Progress::default()
        },
        told: Instant::now(),
    };
    let shared = archive.memberships(&mut control).await?;
    control.commit().await?;
    let mut parts = Vec::with_capacity(tables.len());
    for table in &tables {
        parts.push(archive.table(&mut tenant, table).await?);
    }
    tenant.commit().await?;
    let manifest = Manifest {
        format: FORMAT,
        product_version: env!("CARGO_PKG_VERSION").into(),
        created_at: now,
        tenant: about,
        schema_version,
        shared: vec![shared],
        tables: parts,
    };
    archive.finish(&manifest, archives, part).await
}

/// An archive on its way, and those who watch.
struct Archive<'a> {
    run: &'a Run,
    job: ExportTenant,
    to: Writer,
    progress: Progress,
    told: Instant,
}

impl Archive<'_> {
    async fn memberships(&mut self, control: &mut ControlTx) -> Result<SharedPart, ArchiveError> {
        self.to.begin_file().await?;
        let mut lines = store::memberships(control, self.job.tenant);
        while let Some(line) = lines.try_next().await? {
            let mut text = serde_json::to_vec(&line).map_err(std::io::Error::other)?;
            text.push(b'\n');
            self.to.put(&text).await?;
        }
        let table = store::EXPORTED[0].to_owned();
        let contents = self.to.end(&shared_file(&table)).await?;
        self.end_of_file(contents.rows).await?;
        Ok(SharedPart { table, contents })
    }

    async fn table(&mut self, tenant: &mut TenantTx, table: &Table) -> Result<TablePart, ArchiveError> {
        self.to.begin_file().await?;
        let mut rows = tenant.copy_out(table).await?;
        while let Some(piece) = rows.next().await? {
            self.to.put(&piece).await?;
            if self.told.elapsed() > TELL_EVERY {
                self.tell().await?;
            }
        }
        let contents = self.to.end(&table_file(table.name())).await?;
        self.end_of_file(contents.rows).await?;
        Ok(TablePart {
            table: table.name().to_owned(),
            columns: table.columns().to_vec(),
            contents,
        })
    }

    async fn end_of_file(&mut self, rows: u64) -> Result<(), ArchiveError> {
        self.progress.tables_done += 1;
        self.progress.n_rows += rows;
        self.tell().await
    }

    async fn tell(&mut self) -> Result<(), ArchiveError> {
        self.told = Instant::now();
        let (rows, bytes) = self.to.progress();
        let progress = Progress {
            n_rows: self.progress.n_rows + rows,
            n_bytes: bytes,
            ..self.progress
        };
        if tell(self.run, self.job, progress).await? {
            Ok(())
        } else {
            Err(ArchiveError::NotFound)
        }
    }

    async fn finish(mut self, manifest: &Manifest, archives: &Archives, part: &Path) -> Result<(), ArchiveError> {
        let (run, export) = (self.run, self.job.export);
        let (n_bytes, sha256) = self.to.finish(manifest).await?;
        self.progress.n_bytes = n_bytes;
        let now = run.clock.now();
        let mut tx = run.db().control().await?;
        store::set_progress(&mut tx, export, self.progress).await?;
        store::set_ready(&mut tx, export, &sha256, now, now + archives.retention()).await?;
        run.hold_control(&mut tx).await?;
        fs::rename(part, archives.file_of(export)).await?;
        archives.sync().await?;
        tx.commit().await?;
        tracing::info!(tenant.id = %self.job.tenant, export.id = %export, n_bytes, "a tenant was exported");
        Ok(())
    }
}

/// `false` when nobody waits for the export any more.
async fn tell(run: &Run, job: ExportTenant, progress: Progress) -> Result<bool, ArchiveError> {
    let mut tx = run.db().control().await?;
    let is_wanted = store::set_progress(&mut tx, job.export, progress).await?;
    run.hold_control(&mut tx).await?;
    tx.commit().await?;
    Ok(is_wanted)
}
