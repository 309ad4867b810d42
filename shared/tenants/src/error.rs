//! What can go wrong with tenants.

use std::borrow::Cow;

use bulkhead_kernel::fault::{Code, Fault};
use bulkhead_tenancy::DbError;

/// Why a tenant could not be made or shown.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// Another tenant has the slug.
    #[error("slug taken")]
    SlugTaken,
    /// No slug can be made from the name.
    #[error("no slug can be made from the name")]
    SlugNeeded,
    /// The idempotency key came with another request before.
    #[error("idempotency key reused")]
    KeyReused,
    /// The same request is being carried out right now.
    #[error("the same request is under way")]
    InProgress,
    /// There is no such tenant, or the caller may not know of it.
    #[error("tenant not found")]
    NotFound,
    /// The database failed.
    #[error("database")]
    Database(#[source] DbError),
}

impl<E: Into<DbError>> From<E> for TenantError {
    fn from(error: E) -> Self {
        let error = error.into();
        match error.constraint() {
            Some("tenants_slug_key") => Self::SlugTaken,
            Some("tenants_request_key") => Self::InProgress,
            _ => Self::Database(error),
        }
    }
}

impl Fault for TenantError {
    fn code(&self) -> Code {
        match self {
            Self::SlugTaken => Code::SlugTaken,
            Self::SlugNeeded => Code::Validation,
            Self::KeyReused => Code::IdempotencyKeyReused,
            Self::InProgress => Code::IdempotencyInProgress,
            Self::NotFound => Code::TenantNotFound,
            Self::Database(source) => source.code(),
        }
    }

    fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::SlugNeeded => "No slug can be made from this name; give one.".into(),
            _ => self.code().title().into(),
        }
    }
}
