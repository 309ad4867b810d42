//! An archive of the tenant, asked for as a job of its own: it asks for the export and looks at it until it is ready.
//!
//! The archive itself is written by the platform's job, which goes on while the tenant is suspended.

use std::time::Duration;

use bulkhead_audit::Actor;
use bulkhead_iam::standing;
use bulkhead_jobs::{LogLevel, Outcome, Run};
use bulkhead_kernel::ids::{ExportId, IdentityId};
use bulkhead_tenants::archives::{ArchiveError, Archives, Export, State, service as archives};
use serde_json::json;

use crate::{Task, TaskError};

/// Between the first two looks at an export.
const SOONEST: Duration = Duration::from_millis(500);

/// Between any two of them.
const LATEST: Duration = Duration::from_secs(30);

/// Each look is an event of the job, so they grow apart: an export of ten minutes is looked at some forty times.
fn look_again(run: &Run, export: &Export) -> Outcome {
    let age = (run.clock.now() - export.created_at).to_std().unwrap_or_default();
    Outcome::Snooze((age / 4).clamp(SOONEST, LATEST))
}

/// Asks for the archive, or looks how far it is.
pub async fn run(run: &Run, files: &Archives) -> Outcome {
    match look(run, files).await {
        Ok(outcome) => outcome,
        // Another export of the tenant is written; after that it is our turn.
        Err(TaskError::Archive(ArchiveError::InProgress)) => Outcome::Snooze(LATEST / 6),
        Err(error @ TaskError::ArchiveFailed(_)) => match run.fail(&error).await {
            Outcome::Retry(text) => Outcome::Discard(text),
            outcome => outcome,
        },
        Err(error) => run.fail(&error).await,
    }
}

async fn look(run: &Run, files: &Archives) -> Result<Outcome, TaskError> {
    let mut tx = run.tenant_tx().await?;
    let tenant = tx.tenant();
    let standing = standing::find(run.db(), &mut tx, &run.origin.principal, run.clock.now()).await?;
    Task::Export.require(&standing)?;
    let kept = run.checkpoint(&mut tx).await?;
    let known = kept
        .as_ref()
        .and_then(|kept| kept["export"].as_str()?.parse::<ExportId>().ok());
    // Its id is kept before it is asked for, so that no death in between leads to a second one.
    let id = known.unwrap_or_else(ExportId::new);
    run.set_checkpoint(&mut tx, &json!({ "export": id })).await?;
    run.commit(tx).await?;
    let home = run.db().home();
    let export = match archives::get_export(&home, tenant, id).await {
        Err(ArchiveError::NotFound) => {
            let by: IdentityId = run.origin.principal.parse().map_err(|_| ArchiveError::NotAnOwner)?;
            let by = (by, Actor::of(&run.origin));
            archives::export_as(&run.origin, &home, files, &run.clock, by, (tenant, id)).await?;
            run.log(LogLevel::Info, "The archive was asked for.").await?;
            return Ok(Outcome::Snooze(SOONEST));
        }
        found => found?,
    };
    tell(run, &export).await
}

async fn tell(run: &Run, export: &Export) -> Result<Outcome, TaskError> {
    let count = |number: i32| u64::try_from(number).unwrap_or_default();
    run.progress(count(export.tables_done), export.tables_total.map(count))
        .await?;
    match export.state {
        State::Ready => {
            let place = format!("/api/v1/tenants/{}/exports/{}", export.tenant, export.id);
            let result = json!({
                "export_id": export.id,
                "rows": export.n_rows,
                "bytes": export.n_bytes,
                "download": format!("{place}/download"),
                "expires_at": export.expires_at,
            });
            run.commit_with(run.tenant_tx().await?, &result).await?;
            run.log(LogLevel::Info, "The archive is ready.").await?;
            Ok(Outcome::Done)
        }
        State::Failed => {
            // Run again by hand, it asks for another one.
            let mut tx = run.tenant_tx().await?;
            run.set_checkpoint(&mut tx, &json!({})).await?;
            run.commit(tx).await?;
            Err(TaskError::ArchiveFailed(export.error.clone().unwrap_or_default()))
        }
        _ => Ok(look_again(run, export)),
    }
}
