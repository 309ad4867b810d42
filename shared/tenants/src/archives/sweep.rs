//! Keeps the folder of archives as small as it may be: a loop without input, beside the worker's jobs.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    time::{Duration, UNIX_EPOCH},
};

use bulkhead_kernel::{
    clock::Clock,
    ids::{ExportId, ImportId},
};
use bulkhead_tenancy::Db;
use tokio::{fs, time::sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{ArchiveError, Archives, import, store};

/// Between two rounds.
const EVERY: Duration = Duration::from_mins(1);

/// A file that nobody needs is left alone for so long: its row may be about to come.
const YOUNG: Duration = Duration::from_hours(2);

/// Sweeps until `stop`.
pub async fn run(db: Db, archives: Archives, clock: Clock, stop: CancellationToken) {
    loop {
        if let Err(error) = once(&db, &archives, &clock).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "archives could not be swept up"
            );
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(EVERY) => {}
        }
    }
}

/// One round: ends what no job will end, forgets what has expired, and removes files that nobody needs any more.
pub async fn once(db: &Db, archives: &Archives, clock: &Clock) -> Result<(), ArchiveError> {
    let now = clock.now();
    let mut tx = db.control().await?;
    store::fail_abandoned_exports(&mut tx, now, now + archives.retention()).await?;
    store::delete_expired_exports(&mut tx, now).await?;
    let abandoned = store::list_abandoned_imports(&mut tx).await?;
    tx.commit().await?;
    for id in abandoned {
        let error = ArchiveError::Invalid("no worker could finish it".into());
        import::give_up(db, archives, id, &error, now, None).await?;
    }
    remove_files(db, archives).await
}

/// An archive file and the id it is named after.
struct Found {
    id: Uuid,
    path: PathBuf,
    is_export: bool,
    is_young: bool,
}

async fn remove_files(db: &Db, archives: &Archives) -> Result<(), ArchiveError> {
    let files = list(archives).await?;
    let ids: Vec<Uuid> = files.iter().map(|file| file.id).collect();
    let mut tx = db.control().await?;
    let needed = store::list_needed(&mut tx, &ids).await?;
    tx.commit().await?;
    for file in files {
        // The row of an export is there before its file, so that a file without one is never about to be wanted.
        let is_certain = !file.is_young || file.is_export;
        if is_certain && !needed.contains(&file.id) {
            fs::remove_file(&file.path).await?;
            tracing::info!(file = %file.path.display(), "an archive was removed");
        }
    }
    Ok(())
}

/// Files named after an export or an import; others are none of ours.
async fn list(archives: &Archives) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut files = match fs::read_dir(archives.dir()).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        files => files?,
    };
    while let Some(file) = files.next_entry().await? {
        let name = file.file_name();
        let name = name.to_string_lossy();
        let stem = name.split('.').next().unwrap_or_default();
        let export = stem.parse::<ExportId>().map(ExportId::uuid);
        let Ok(id) = export.or_else(|_| stem.parse::<ImportId>().map(ImportId::uuid)) else {
            continue;
        };
        let changed = u64::try_from(file.metadata().await?.ctime()).unwrap_or_default();
        found.push(Found {
            id,
            path: file.path(),
            is_export: export.is_ok(),
            // A second name for an old export is young: not its contents changed, but its names.
            is_young: (UNIX_EPOCH + Duration::from_secs(changed))
                .elapsed()
                .unwrap_or_default()
                < YOUNG,
        });
    }
    Ok(found)
}
