//! What can go wrong with members.

use std::borrow::Cow;

use bulkhead_kernel::fault::{Code, Fault, Violation};
use bulkhead_tenancy::DbError;

use crate::{ScopeError, idempotency::IdempotencyError, identities::IdentityError, roles::RoleError};

/// Why somebody may not enter, or members could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// The person is no active member; to them the tenant does not exist.
    #[error("not an active member")]
    TenantNotFound,
    /// The session was ended, or the account switched off.
    #[error("the session has ended")]
    SessionEnded,
    /// The principal may not.
    #[error("not permitted")]
    Forbidden(#[from] ScopeError),
    /// There is no such member.
    #[error("no such member")]
    NotFound,
    /// The member is not as the caller last saw them.
    #[error("another version")]
    Changed,
    /// The person is a member already.
    #[error("already a member")]
    AlreadyMember,
    /// It is about rights, and those stand against it.
    #[error("the rights of members stand against it")]
    Role(#[from] RoleError),
    /// The person could not be found or made.
    #[error("the identity stands against it")]
    Identity(#[from] IdentityError),
    /// The request breaks rules.
    #[error("the request is invalid")]
    Invalid(Vec<Violation>),
    /// The request came under an idempotency key, and that stands against it.
    #[error("the idempotency key stands against it")]
    Key(#[from] IdempotencyError),
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] DbError),
}

impl Fault for MemberError {
    fn code(&self) -> Code {
        match self {
            Self::TenantNotFound => Code::TenantNotFound,
            Self::SessionEnded => Code::SessionEnded,
            Self::Forbidden(source) => source.code(),
            Self::NotFound => Code::NotFound,
            Self::Changed => Code::PreconditionFailed,
            Self::AlreadyMember => Code::AlreadyMember,
            Self::Role(source) => source.code(),
            Self::Identity(source) => source.code(),
            Self::Invalid(_) => Code::Validation,
            Self::Key(source) => source.code(),
            Self::Database(source) => source.code(),
        }
    }

    fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::Forbidden(source) => source.detail(),
            Self::Role(source) => source.detail(),
            _ => self.code().title().into(),
        }
    }

    fn violations(&self) -> Vec<Violation> {
        match self {
            Self::Invalid(violations) => violations.clone(),
            Self::Role(source) => source.violations(),
            Self::Identity(source) => source.violations(),
            Self::Key(source) => source.violations(),
            _ => Vec::new(),
        }
    }
}
