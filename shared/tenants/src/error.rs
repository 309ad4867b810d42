//! What can go wrong with tenants.

use std::borrow::Cow;

use bulkhead_iam::{
    ScopeError,
    members::MemberError,
    tokens::{KeyError, TokenError},
};
use bulkhead_kernel::fault::{Code, Fault, Violation};
use bulkhead_tenancy::DbError;

use crate::{capacity::Full, profile};

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
    /// It is not as the caller last saw it.
    #[error("another version")]
    Changed,
    /// The tenant's state stands against it; says which.
    #[error("the tenant's state does not allow this")]
    State(&'static str),
    /// The caller may not enter the tenant.
    #[error("the caller may not enter")]
    Member(#[source] MemberError),
    /// The caller lacks a permission.
    #[error("not permitted")]
    Forbidden(#[source] ScopeError),
    /// The request breaks rules.
    #[error("the request is invalid")]
    Invalid(Vec<Violation>),
    /// No cluster takes a new tenant.
    #[error("{0}")]
    ClusterFull(Full),
    /// There is no such receipt.
    #[error("no such receipt")]
    NoReceipt,
    /// The machines of a tenant could not be removed.
    #[error("machines cannot be removed: {0}")]
    Machines(Box<dyn Fault>),
    /// The keys that sign receipts cannot be used.
    #[error("the signing keys cannot be used: {0}")]
    Keys(KeyError),
    /// A receipt could not be signed.
    #[error("a receipt cannot be signed")]
    Sign(#[source] TokenError),
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
            Some("tenants_documents_check") => Self::Invalid(profile::service::too_large()),
            _ => Self::Database(error),
        }
    }
}

impl Fault for TenantError {
    fn code(&self) -> Code {
        match self {
            Self::SlugTaken => Code::SlugTaken,
            Self::SlugNeeded | Self::Invalid(_) => Code::Validation,
            Self::KeyReused => Code::IdempotencyKeyReused,
            Self::InProgress => Code::IdempotencyInProgress,
            Self::NotFound => Code::TenantNotFound,
            Self::Changed => Code::PreconditionFailed,
            Self::State(_) => Code::TenantStateConflict,
            Self::Member(source) => source.code(),
            Self::Forbidden(source) => source.code(),
            Self::ClusterFull(_) => Code::ClusterFull,
            Self::NoReceipt => Code::NotFound,
            Self::Machines(source) => source.code(),
            Self::Keys(_) | Self::Sign(_) => Code::Internal,
            Self::Database(source) => source.code(),
        }
    }

    fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::SlugNeeded => "No slug can be made from this name; give one.".into(),
            Self::State(detail) => (*detail).into(),
            Self::ClusterFull(full) => full.to_string().into(),
            Self::Member(source) => source.detail(),
            Self::Forbidden(source) => source.detail(),
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
