//! Receipts of purged tenants, checked where no platform is running.

use std::{io, path::PathBuf};

use bulkhead_iam::tokens::Keys;
use bulkhead_tenants::purge::RECEIPT_TYPE;

use super::CliError;

/// Reads a receipt from the standard input and prints what it says, if one of the keys signed it.
pub(super) fn verify(dir: Option<PathBuf>) -> Result<(), CliError> {
    let dir = match dir {
        Some(dir) => dir,
        None => super::config(&[])?.auth.keys_dir,
    };
    let receipt = io::read_to_string(io::stdin()).map_err(CliError::Input)?;
    let statement = Keys::load(&dir)?.verify_statement(RECEIPT_TYPE, receipt.trim());
    let statement = statement.map_err(|_| CliError::Receipt)?;
    super::say(&format!("{statement:#}"));
    Ok(())
}
