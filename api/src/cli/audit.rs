//! Audit logs, verified from beside the platform.

use bulkhead_iam::{
    audit_log::{Checkpoints, Verification, service},
    tokens::Keys,
};
use bulkhead_kernel::config::Section;
use bulkhead_tenancy::{Db, TenantSelector};
use clap::Subcommand;

use super::CliError;

/// What can be done with an audit log.
#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Walk along a tenant's whole log, compare it with the signed checkpoints, and fail naming the first bad row
    Verify {
        /// The tenant's id or slug
        tenant: String,
    },
}

/// Does it and prints what came of it.
pub(super) async fn run(Audit::Verify { tenant }: Audit) -> Result<(), CliError> {
    let id = tenant.parse().map(TenantSelector::Id).ok();
    let selector = id.or_else(|| tenant.parse().map(TenantSelector::Slug).ok());
    let selector = selector.ok_or_else(|| CliError::Argument(format!("{tenant} is neither a tenant id nor a slug")))?;
    let config = super::config(&[Section::Database, Section::Auth, Section::Audit])?;
    let db = Db::new(&config.database)?;
    let keys = Keys::load(&config.auth.keys_dir)?;
    let checkpoints = Checkpoints::new(&config.audit.checkpoints_dir);
    let id = db.resolve(&selector).await?.id;
    let found = service::verify_tenant(&db, &keys, &checkpoints, id).await?;
    super::say(&describe(&found));
    if found.flaw.is_some() {
        Err(CliError::Tampered)
    } else {
        Ok(())
    }
}

fn describe(found: &Verification) -> String {
    let checkpoint = match &found.checkpoint {
        Some(checkpoint) => format!(
            "the newest checkpoint, of {}, is about row {}",
            checkpoint.at, checkpoint.end.seq
        ),
        None => "there is no checkpoint that one of the keys signed".to_owned(),
    };
    let first = found.first_seq.unwrap_or_default();
    let looked = format!(
        "Looked at {} rows, from {first} to {}; {checkpoint}.",
        found.n_rows, found.last_seq
    );
    match &found.flaw {
        Some(flaw) => {
            let id = flaw.id.map(|id| format!(" ({id})")).unwrap_or_default();
            format!("{looked}\nRow {}{id}: {}", flaw.seq, flaw.reason.title())
        }
        None => format!("{looked}\nThe log is whole."),
    }
}
