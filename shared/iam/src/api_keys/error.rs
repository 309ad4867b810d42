//! What can go wrong with API keys.

use std::borrow::Cow;

use bulkhead_kernel::fault::{Code, Fault, Violation};
use bulkhead_tenancy::DbError;

use super::Refusal;
use crate::{
    ScopeError,
    idempotency::IdempotencyError,
    permissions::{Permission, PermissionSet},
};

/// Why a key opened nothing, or could not be managed.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyError {
    /// The key opens nothing.
    #[error("the key was refused: {}", .0.as_str())]
    Refused(Refusal),
    /// The principal may not.
    #[error("not permitted")]
    Forbidden(#[from] ScopeError),
    /// The key would do, or does, what the principal may not.
    #[error("the key exceeds the principal")]
    Exceeds(PermissionSet),
    /// A member's key is that member's alone.
    #[error("not the owner of the key")]
    NotOwner,
    /// There is no such key in this tenant.
    #[error("no such key")]
    NotFound,
    /// It is not as the caller last saw it.
    #[error("another version")]
    Changed,
    /// It never works again.
    #[error("the key is revoked")]
    Revoked,
    /// The request breaks rules.
    #[error("the request is invalid")]
    Invalid(Vec<Violation>),
    /// The idempotency key was used with another body.
    #[error("the idempotency key was used with another request")]
    IdempotencyKeyReused,
    /// The text cannot be made again.
    #[error("the key cannot be shown again")]
    NotRepeatable,
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] DbError),
    /// A stored document is not what we once wrote.
    #[error("a stored document cannot be read")]
    Document(#[from] serde_json::Error),
}

impl From<IdempotencyError> for ApiKeyError {
    fn from(error: IdempotencyError) -> Self {
        match error {
            IdempotencyError::Malformed(violation) => Self::Invalid(vec![violation]),
            IdempotencyError::Reused => Self::IdempotencyKeyReused,
            IdempotencyError::Document(error) => Self::Document(error),
            IdempotencyError::Database(error) => Self::Database(error),
        }
    }
}

impl Fault for ApiKeyError {
    fn code(&self) -> Code {
        match self {
            Self::Refused(Refusal::Address) => Code::AddressNotAllowed,
            Self::Refused(_) => Code::ApiKeyInvalid,
            Self::Forbidden(source) => source.code(),
            Self::Exceeds(_) | Self::NotOwner => Code::Forbidden,
            Self::NotFound => Code::NotFound,
            Self::Changed => Code::PreconditionFailed,
            Self::Revoked => Code::ApiKeyRevoked,
            Self::Invalid(_) => Code::Validation,
            Self::IdempotencyKeyReused => Code::IdempotencyKeyReused,
            Self::NotRepeatable => Code::ApiKeyNotRepeatable,
            Self::Database(source) => source.code(),
            Self::Document(_) => Code::Internal,
        }
    }

    fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::Forbidden(source) => source.detail(),
            Self::Exceeds(beyond) => {
                let ids: Vec<_> = beyond.iter().map(Permission::as_str).collect();
                format!("Nobody gives what they do not hold: you lack {}.", ids.join(", ")).into()
            }
            Self::NotOwner => {
                "A member's key is changed and rotated by that member alone; others may revoke it.".into()
            }
            _ => self.code().title().into(),
        }
    }

    fn violations(&self) -> Vec<Violation> {
        match self {
            Self::Invalid(violations) => violations.clone(),
            _ => Vec::new(),
        }
    }
}
