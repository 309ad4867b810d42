//! How calls on things fail.

use std::borrow::Cow;

use bulkhead_iam::{ScopeError, idempotency::IdempotencyError};
use bulkhead_kernel::fault::{Code, Fault, Violation};
use bulkhead_tenancy::DbError;

/// Why a call on a thing was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum ResourceError {
    /// The caller may not.
    #[error("not permitted")]
    Forbidden(#[from] ScopeError),
    /// There is no such thing in this tenant.
    #[error("no such resource")]
    NotFound,
    /// Another thing of the type has the name.
    #[error("the name is taken")]
    NameTaken,
    /// It is not as the caller last saw it.
    #[error("the resource has changed")]
    Changed,
    /// The request breaks rules.
    #[error("the request is invalid")]
    Invalid(Vec<Violation>),
    /// The key was used with another body.
    #[error("the idempotency key was used with another request")]
    IdempotencyKeyReused,
    /// A stored document is not what we once wrote.
    #[error("a stored document cannot be read")]
    Document(#[from] serde_json::Error),
    /// The database refused or failed.
    #[error("the database failed")]
    Database(#[source] DbError),
}

impl From<DbError> for ResourceError {
    fn from(error: DbError) -> Self {
        match error.constraint() {
            Some("resources_name_key") => Self::NameTaken,
            _ => Self::Database(error),
        }
    }
}

impl From<IdempotencyError> for ResourceError {
    fn from(error: IdempotencyError) -> Self {
        match error {
            IdempotencyError::Malformed(violation) => Self::Invalid(vec![violation]),
            IdempotencyError::Reused => Self::IdempotencyKeyReused,
            IdempotencyError::Document(error) => Self::Document(error),
            IdempotencyError::Database(error) => Self::Database(error),
        }
    }
}

impl Fault for ResourceError {
    fn code(&self) -> Code {
        match self {
            Self::Forbidden(error) => error.code(),
            Self::NotFound => Code::NotFound,
            Self::NameTaken => Code::NameTaken,
            Self::Changed => Code::PreconditionFailed,
            Self::Invalid(_) => Code::Validation,
            Self::IdempotencyKeyReused => Code::IdempotencyKeyReused,
            Self::Document(_) => Code::Internal,
            Self::Database(error) => error.code(),
        }
    }

    fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::Forbidden(error) => error.detail(),
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
