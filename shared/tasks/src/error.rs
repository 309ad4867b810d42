//! How calls on jobs, and tasks, fail.

use std::borrow::Cow;

use bulkhead_iam::{ScopeError, idempotency::IdempotencyError};
use bulkhead_kernel::fault::{Code, Fault, Violation};
use bulkhead_resources::ResourceError;
use bulkhead_tenancy::DbError;
use bulkhead_tenants::archives::ArchiveError;

/// Why a call on a job was refused, or a task failed.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The caller, or who submitted it, may not (any more).
    #[error("not permitted")]
    Forbidden(#[from] ScopeError),
    /// There is no such job, or none that the caller may know of.
    #[error("no such job")]
    NotFound,
    /// The job is in a state that does not allow this.
    #[error("the job is {0}")]
    State(String),
    /// A live job does the same.
    #[error("a live job has its key")]
    Duplicate,
    /// The request breaks rules.
    #[error("the request is invalid")]
    Invalid(Vec<Violation>),
    /// The key was used with another body.
    #[error("the idempotency key was used with another request")]
    IdempotencyKeyReused,
    /// A stored document is not what we once wrote.
    #[error("a stored document cannot be read")]
    Document(#[from] serde_json::Error),
    /// The archive that was asked for.
    #[error("the archive")]
    Archive(#[from] ArchiveError),
    /// The archive that was asked for could not be written.
    #[error("the archive could not be written: {0}")]
    ArchiveFailed(String),
    /// The resources that were asked for.
    #[error("the resources")]
    Resources(#[from] ResourceError),
    /// The database refused or failed.
    #[error("the database failed")]
    Database(#[from] DbError),
}

impl From<IdempotencyError> for TaskError {
    fn from(error: IdempotencyError) -> Self {
        match error {
            IdempotencyError::Malformed(violation) => Self::Invalid(vec![violation]),
            IdempotencyError::Reused => Self::IdempotencyKeyReused,
            IdempotencyError::Document(error) => Self::Document(error),
            IdempotencyError::Database(error) => Self::Database(error),
        }
    }
}

impl Fault for TaskError {
    fn code(&self) -> Code {
        match self {
            Self::Forbidden(error) => error.code(),
            Self::NotFound => Code::NotFound,
            Self::State(_) => Code::JobState,
            Self::Duplicate => Code::JobDuplicate,
            Self::Invalid(_) => Code::Validation,
            Self::IdempotencyKeyReused => Code::IdempotencyKeyReused,
            Self::Document(_) | Self::ArchiveFailed(_) => Code::Internal,
            Self::Archive(error) => error.code(),
            Self::Resources(error) => error.code(),
            Self::Database(error) => error.code(),
        }
    }

    fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::Forbidden(error) => error.detail(),
            Self::State(word) => format!("The job is {word}.").into(),
            Self::Archive(error) => error.detail(),
            _ => Cow::Borrowed(self.code().title()),
        }
    }

    fn violations(&self) -> Vec<Violation> {
        match self {
            Self::Invalid(violations) => violations.clone(),
            _ => Vec::new(),
        }
    }
}
