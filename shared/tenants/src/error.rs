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
        if error.constraint() == Some("tenants_slug_key") {
            Self::SlugTaken
        } else {
            Self::Database(error)
        }
    }
}

impl Fault for TenantError {
    fn code(&self) -> Code {
        match self {
            Self::SlugTaken => Code::SlugTaken,
            Self::SlugNeeded => Code::Validation,
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
