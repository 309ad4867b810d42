//! How calls on webhooks fail.

use std::borrow::Cow;

use bulkhead_iam::{ScopeError, idempotency::IdempotencyError, signing_keys::SigningKeyError};
use bulkhead_kernel::fault::{Code, Fault, Violation};
use bulkhead_tenancy::DbError;

/// Why a call on a webhook was refused or failed, or an attempt could not be made.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The caller may not.
    #[error("not permitted")]
    Forbidden(#[from] ScopeError),
    /// There is no such webhook or delivery in this tenant.
    #[error("no such webhook")]
    NotFound,
    /// It is not as the caller last saw it.
    #[error("the webhook has changed")]
    Changed,
    /// Nothing is sent to it.
    #[error("the webhook is disabled")]
    Disabled,
    /// The tenant has as many as it may have.
    #[error("the tenant has {0} webhooks")]
    TooMany(i64),
    /// The request breaks rules.
    #[error("the request is invalid")]
    Invalid(Vec<Violation>),
    /// The key was used with another body.
    #[error("the idempotency key was used with another request")]
    IdempotencyKeyReused,
    /// A secret cannot be wrapped or unwrapped.
    #[error("the secret of a webhook cannot be used")]
    Vault(#[source] SigningKeyError),
    /// A stored document is not what we once wrote.
    #[error("a stored document cannot be read")]
    Document(#[from] serde_json::Error),
    /// The database refused or failed.
    #[error("the database failed")]
    Database(#[from] DbError),
}

impl From<IdempotencyError> for WebhookError {
    fn from(error: IdempotencyError) -> Self {
        match error {
            IdempotencyError::Malformed(violation) => Self::Invalid(vec![violation]),
            IdempotencyError::Reused => Self::IdempotencyKeyReused,
            IdempotencyError::Document(error) => Self::Document(error),
            IdempotencyError::Database(error) => Self::Database(error),
        }
    }
}

impl Fault for WebhookError {
    fn code(&self) -> Code {
        match self {
            Self::Forbidden(error) => error.code(),
            Self::NotFound => Code::NotFound,
            Self::Changed => Code::PreconditionFailed,
            Self::Disabled => Code::WebhookDisabled,
            Self::TooMany(_) => Code::QuotaExceeded,
            Self::Invalid(_) => Code::Validation,
            Self::IdempotencyKeyReused => Code::IdempotencyKeyReused,
            Self::Vault(_) | Self::Document(_) => Code::Internal,
            Self::Database(error) => error.code(),
        }
    }

    fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::Forbidden(error) => error.detail(),
            Self::TooMany(most) => format!("There are {most} webhooks, which is the most.").into(),
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
