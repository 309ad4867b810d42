//! What can go wrong with archives.

use std::{borrow::Cow, io};

use bulkhead_kernel::fault::{Code, Fault, Violation};
use bulkhead_tenancy::{DbError, SERVED_VERSIONS};

use crate::TenantError;

/// Why an archive could not be made, given or taken.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file is not an archive of ours, or not whole any more; says where.
    #[error("not a whole archive: {0}")]
    Invalid(String),
    /// The tenant in it is at a version of the schema that this program does not work with.
    #[error("the archive has schema version {0}")]
    VersionNotServed(i64),
    /// More bytes than the settings take.
    #[error("the archive is too large")]
    TooLarge,
    /// It did not arrive in time.
    #[error("the archive did not arrive in time")]
    TooSlow,
    /// The body broke off.
    #[error("the upload broke off")]
    BrokenOff,
    /// An export of this tenant is under way.
    #[error("an export is under way")]
    InProgress,
    /// The archive is not written yet, or could not be.
    #[error("the export is not ready")]
    NotReady,
    /// No such export or import, or none that the caller may know of.
    #[error("not found")]
    NotFound,
    /// Only an owner, or an operator, may.
    #[error("only owners may")]
    NotAnOwner,
    /// What was asked for breaks a rule.
    #[error("the request breaks a rule")]
    Refused(Vec<Violation>),
    /// The tenant itself.
    #[error("tenant")]
    Tenant(#[source] TenantError),
    /// The folder of archives.
    #[error("the folder of archives")]
    Io(#[from] io::Error),
}

impl ArchiveError {
    /// Whether the same archive will never be taken, however often it is tried.
    pub(super) const fn is_final(&self) -> bool {
        matches!(self, Self::Invalid(_) | Self::VersionNotServed(_))
    }
}

impl From<TenantError> for ArchiveError {
    fn from(error: TenantError) -> Self {
        match error {
            TenantError::Database(error) if error.constraint() == Some("exports_live_key") => Self::InProgress,
            TenantError::Database(error) if error.constraint() == Some("exports_tenant_fkey") => {
                Self::Tenant(TenantError::NotFound)
            }
            error => Self::Tenant(error),
        }
    }
}

impl From<DbError> for ArchiveError {
    fn from(error: DbError) -> Self {
        TenantError::from(error).into()
    }
}

impl From<sqlx::Error> for ArchiveError {
    fn from(error: sqlx::Error) -> Self {
        DbError::from(error).into()
    }
}

impl Fault for ArchiveError {
    fn code(&self) -> Code {
        match self {
            Self::Invalid(_) => Code::ArchiveInvalid,
            Self::VersionNotServed(_) => Code::ArchiveVersionNotServed,
            Self::TooLarge => Code::ArchiveTooLarge,
            Self::TooSlow => Code::RequestTimeout,
            Self::BrokenOff => Code::MalformedRequest,
            Self::InProgress => Code::ExportInProgress,
            Self::NotReady => Code::ExportNotReady,
            Self::NotFound => Code::NotFound,
            Self::NotAnOwner => Code::Forbidden,
            Self::Refused(_) => Code::Validation,
            Self::Tenant(source) => source.code(),
            Self::Io(_) => Code::Internal,
        }
    }

    fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::Invalid(why) => format!("The archive cannot be taken: {why}.").into(),
            Self::VersionNotServed(version) => format!(
                "The archive has schema version {version}; this installation takes {} to {}.",
                SERVED_VERSIONS.start(),
                SERVED_VERSIONS.end()
            )
            .into(),
            Self::NotAnOwner => "Only an owner of the tenant or an operator may do this.".into(),
            Self::BrokenOff => "The body broke off.".into(),
            Self::Tenant(source) => source.detail(),
            _ => self.code().title().into(),
        }
    }

    fn violations(&self) -> Vec<Violation> {
        match self {
            Self::Refused(violations) => violations.clone(),
            _ => Vec::new(),
        }
    }
}
