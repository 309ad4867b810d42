//! Exports and imports as their owners see them.

use bulkhead_kernel::{
    fault::Violation,
    idempotency::IdempotencyKey,
    ids::{ExportId, ImportId, JobId, TenantId},
};
use bulkhead_tenancy::Slug;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::{ArchiveError, file::hex};
use crate::TenantName;

/// Where an export or an import stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its turn has not come.
    Waiting,
    /// Under way.
    Running,
    /// An export that can be downloaded.
    Ready,
    /// An import whose tenant is open.
    Done,
    /// It will not be; the error says why.
    Failed,
}

impl State {
    /// As the wire and the database spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Ready => "ready",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    pub(super) fn parse(text: &str) -> Self {
        match text {
            "running" => Self::Running,
            "ready" => Self::Ready,
            "done" => Self::Done,
            "failed" => Self::Failed,
            _ => Self::Waiting,
        }
    }
}

/// An export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Its id.
    pub id: ExportId,
    /// Whose archive it is.
    pub tenant: TenantId,
    /// Where it stands.
    pub state: State,
    /// Files written so far.
    pub tables_done: i32,
    /// Files in all, once that is known.
    pub tables_total: Option<i32>,
    /// Rows written so far.
    pub n_rows: i64,
    /// Bytes of the archive so far.
    pub n_bytes: i64,
    /// SHA-256 of the manifest, which names the checksum of everything else.
    pub sha256: Option<Vec<u8>>,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// When it is removed.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Export {
    /// [`Export::sha256`] in lower-case hexadecimal.
    #[must_use]
    pub fn manifest_sha256(&self) -> Option<String> {
        self.sha256.as_deref().map(hex)
    }
}

/// An import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Its id.
    pub id: ImportId,
    /// The tenant it makes; none once it failed, or once that tenant is gone.
    pub tenant: Option<TenantId>,
    /// Where it stands.
    pub state: State,
    /// The problem code it ended with.
    pub error_code: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// An export that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requested {
    /// The export.
    pub id: ExportId,
    /// The job that writes it.
    pub job: JobId,
}

/// An import that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The new tenant.
    pub tenant: TenantId,
    /// Its name.
    pub name: String,
    /// Its slug.
    pub slug: String,
    /// The import; absent when the answer is given again under its key and the import has been forgotten.
    pub import: Option<ImportId>,
    /// The job that makes it.
    pub job: JobId,
}

/// What becomes of the members in an archive. To let people in is an operator's decision, never the archive's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemberPolicy {
    /// They stay in the data and are let in by nobody; the operator becomes the owner.
    #[default]
    None,
    /// They are members again: by their id where this installation knows it, else by their verified address, else as
    /// new identities without a password.
    Relink,
}

impl MemberPolicy {
    /// As the wire and the database spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Relink => "relink",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "none" => Some(Self::None),
            "relink" => Some(Self::Relink),
            _ => None,
        }
    }
}

/// How the new tenant is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportRequest {
    pub(super) name: Option<TenantName>,
    pub(super) slug: Option<Slug>,
    pub(super) members: MemberPolicy,
    pub(super) key: Option<IdempotencyKey>,
}

impl ImportRequest {
    /// Checks what came over the wire and reports everything that is wrong with it.
    pub fn parse(
        name: Option<&str>,
        slug: Option<&str>,
        members: Option<&str>,
        key: Option<&str>,
    ) -> Result<Self, ArchiveError> {
        let name = name.map(str::parse::<TenantName>).transpose();
        let slug = slug.map(str::parse::<Slug>).transpose();
        let slug = slug.map_err(|malformed| Violation::new("/slug", malformed.to_string()));
        let members = members.map_or(Some(MemberPolicy::default()), MemberPolicy::parse);
        let members = members.ok_or_else(|| Violation::new("/members", "must be none or relink"));
        let key = key.map(str::parse::<IdempotencyKey>).transpose();
        match (name, slug, members, key) {
            (Ok(name), Ok(slug), Ok(members), Ok(key)) => Ok(Self {
                name,
                slug,
                members,
                key,
            }),
            (name, slug, members, key) => {
                let wrong = name.err().into_iter().chain(slug.err()).chain(members.err());
                Err(ArchiveError::Refused(wrong.chain(key.err()).collect()))
            }
        }
    }

    /// What makes two requests the same, with the archive they came with.
    pub(super) fn hash(&self, manifest_sha256: &str) -> Vec<u8> {
        let name = self.name.as_ref().map_or("", TenantName::as_str);
        let slug = self.slug.as_ref().map_or("", Slug::as_str);
        let members = self.members.as_str();
        Sha256::digest(format!("{name}\0{slug}\0{members}\0{manifest_sha256}")).to_vec()
    }
}
