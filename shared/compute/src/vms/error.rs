//! How calls on VMs fail.

use std::borrow::Cow;

use bulkhead_iam::{ScopeError, idempotency::IdempotencyError};
use bulkhead_kernel::{
    fault::{Code, Fault, Violation},
    ids::VmId,
};
use bulkhead_tenancy::DbError;

use super::phase::UnknownWord;

/// Why a call on a VM was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// The caller may not.
    #[error("not permitted")]
    Forbidden(#[from] ScopeError),
    /// There is no such VM in this tenant.
    #[error("no such vm")]
    NotFound,
    /// A live VM has the name; its id where it could be told.
    #[error("the name is taken")]
    NameTaken(Option<VmId>),
    /// The VM must not be deleted.
    #[error("the vm is protected against deletion")]
    DeletionProtected,
    /// There is no such template, or it is not for new VMs any more.
    #[error("the template is not available")]
    TemplateUnavailable,
    /// The template would not fit.
    #[error("smaller than the template needs")]
    BelowTemplateMinimum(Vec<Violation>),
    /// VMs cannot be made from this source yet.
    #[error("the source is not supported")]
    SourceUnsupported,
    /// The request breaks rules.
    #[error("the request is invalid")]
    Invalid(Vec<Violation>),
    /// The key was used with another body.
    #[error("the idempotency key was used with another request")]
    IdempotencyKeyReused,
    /// The database refused or failed.
    #[error("the database failed")]
    Database(#[from] DbError),
    /// A row says what we do not understand.
    #[error("a row is inconsistent")]
    Inconsistent(#[from] UnknownWord),
    /// A stored document is not what we once wrote.
    #[error("a stored document cannot be read")]
    Document(#[from] serde_json::Error),
}

impl From<sqlx::Error> for VmError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<IdempotencyError> for VmError {
    fn from(error: IdempotencyError) -> Self {
        match error {
            IdempotencyError::Malformed(violation) => Self::Invalid(vec![violation]),
            IdempotencyError::Reused => Self::IdempotencyKeyReused,
            IdempotencyError::Document(error) => Self::Document(error),
            IdempotencyError::Database(error) => Self::Database(error),
        }
    }
}

impl Fault for VmError {
    fn code(&self) -> Code {
        match self {
            Self::Forbidden(error) => error.code(),
            Self::NotFound => Code::NotFound,
            Self::NameTaken(_) => Code::NameTaken,
            Self::DeletionProtected => Code::DeletionProtected,
            Self::TemplateUnavailable => Code::TemplateUnavailable,
            Self::BelowTemplateMinimum(_) => Code::BelowTemplateMinimum,
            Self::SourceUnsupported => Code::SourceUnsupported,
            Self::Invalid(_) => Code::Validation,
            Self::IdempotencyKeyReused => Code::IdempotencyKeyReused,
            Self::Database(error) => error.code(),
            Self::Inconsistent(_) | Self::Document(_) => Code::Internal,
        }
    }

    fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::Forbidden(error) => error.detail(),
            Self::NameTaken(Some(existing)) => format!("The name is taken by {existing}.").into(),
            _ => Cow::Borrowed(self.code().title()),
        }
    }

    fn violations(&self) -> Vec<Violation> {
        match self {
            Self::Invalid(violations) | Self::BelowTemplateMinimum(violations) => violations.clone(),
            _ => Vec::new(),
        }
    }
}
