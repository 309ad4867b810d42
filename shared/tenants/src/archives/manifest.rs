//! The manifest: what an archive holds, with a checksum of each file.

use std::collections::BTreeSet;

use bulkhead_kernel::ids::TenantId;
use bulkhead_tenancy::SERVED_VERSIONS;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::ArchiveError;

/// The version of the format. It rises when a program that reads this one could misread the next.
pub const FORMAT: u32 = 1;

/// The last file but one.
pub(super) const MANIFEST: &str = "manifest.json";

/// The last file: the checksum of the manifest, as `sha256sum` writes and checks it.
pub(super) const CHECKSUM: &str = "manifest.json.sha256";

/// The most bytes of a manifest; it is the only part of an archive that is held in memory.
pub(super) const MAX_MANIFEST_BYTES: u64 = 4 << 20;

/// The most files.
pub(super) const MAX_FILES: usize = 10_000;

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The release that wrote it.
    pub product_version: String,
    /// The moment of the snapshot.
    pub created_at: DateTime<Utc>,
    /// Whose it is.
    pub tenant: TenantPart,
    /// The version of the tenant's schema.
    pub schema_version: i64,
    /// Its rows of shared tables, one JSON object a line.
    pub shared: Vec<SharedPart>,
    /// Its own tables, in an order in which they can be loaded.
    pub tables: Vec<TablePart>,
}

/// The tenant as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantPart {
    /// Its id.
    pub id: TenantId,
    /// What it was called.
    pub name: String,
    /// What people typed.
    pub slug: String,
    /// When it was signed up.
    pub created_at: DateTime<Utc>,
}

/// A file with rows of a shared table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedPart {
    /// The table in `control`.
    pub table: String,
    /// What is in the file.
    pub contents: Contents,
}

/// A file with all rows of one of the tenant's tables, as COPY text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TablePart {
    /// The table.
    pub table: String,
    /// The columns, in the order of the file.
    pub columns: Vec<String>,
    /// What is in the file.
    pub contents: Contents,
}

/// How much a file holds, and what it adds up to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// Lines, each ended.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}

pub(super) fn shared_file(table: &str) -> String {
    format!("control/{table}.jsonl")
}

pub(super) fn table_file(table: &str) -> String {
    format!("tables/{table}.copy")
}

impl Manifest {
    /// Reads a manifest and refuses one that this program cannot work with.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ArchiveError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let unreadable =
            |error: serde_json::Error| ArchiveError::Invalid(format!("{MANIFEST} cannot be read ({error})"));
        let Format { format } = serde_json::from_slice(bytes).map_err(unreadable)?;
        if format != FORMAT {
            let why = format!("it has format {format} and this program reads format {FORMAT}");
            return Err(ArchiveError::Invalid(why));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(unreadable)?;
        if !SERVED_VERSIONS.contains(&manifest.schema_version) {
            return Err(ArchiveError::VersionNotServed(manifest.schema_version));
        }
        Ok(manifest)
    }

    /// Every file with what it should hold, in their order.
    pub(super) fn files(&self) -> Vec<(String, &Contents)> {
        let shared = self
            .shared
            .iter()
            .map(|part| (shared_file(&part.table), &part.contents));
        let tables = self.tables.iter().map(|part| (table_file(&part.table), &part.contents));
        shared.chain(tables).collect()
    }

    /// Compares with the files that are really there.
    pub(super) fn check(&self, found: &[(String, Contents)]) -> Result<(), ArchiveError> {
        let expected = self.files();
        let names: BTreeSet<_> = expected.iter().map(|(name, _)| name).collect();
        if names.len() != expected.len() {
            return Err(ArchiveError::Invalid(format!("{MANIFEST} names a file twice")));
        }
        for (name, contents) in found {
            let Some((_, wanted)) = expected.iter().find(|(expected, _)| expected == name) else {
                return Err(ArchiveError::Invalid(format!(
                    "it has a file {name} that {MANIFEST} does not name"
                )));
            };
            contents.check(name, wanted)?;
        }
        let missing = expected
            .iter()
            .find(|(name, _)| !found.iter().any(|(there, _)| there == name));
        match missing {
            Some((name, _)) => Err(ArchiveError::Invalid(format!("the file {name} is missing"))),
            None => Ok(()),
        }
    }
}

impl Contents {
    /// Compares what a file holds with what it should hold.
    pub(super) fn check(&self, file: &str, wanted: &Self) -> Result<(), ArchiveError> {
        let wrong = if self.bytes != wanted.bytes {
            "size"
        } else if self.sha256 != wanted.sha256 {
            "checksum"
        } else if self.rows != wanted.rows {
            "number of rows"
        } else {
            return Ok(());
        };
        Err(ArchiveError::Invalid(format!(
            "the {wrong} of {file} is not what {MANIFEST} says"
        )))
    }
}
