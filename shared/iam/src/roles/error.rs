//! What can go wrong with roles and with giving them.

use std::borrow::Cow;

use bulkhead_kernel::fault::{Code, Fault, Violation};
use bulkhead_tenancy::DbError;

use crate::{ScopeError, idempotency::IdempotencyError};

/// Why a role was not made, changed, shown, given or taken.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// The principal may not.
    #[error("not permitted")]
    Forbidden(#[from] ScopeError),
    /// It is about more than whoever gives or decides holds: the first such permission.
    #[error("{0} is not held by who gives or takes it")]
    Exceeds(String),
    /// Whoever gives is no active member any more.
    #[error("the granter is no active member")]
    GranterGone,
    /// There is no such role, or no such member.
    #[error("no such role or member")]
    NotFound,
    /// One of several roles or people that were named does not exist: where it was named.
    #[error("{0} names nothing")]
    Unknown(String),
    /// It is a role of the system.
    #[error("a role of the system")]
    System,
    /// So many members have it.
    #[error("assigned to {0}")]
    Assigned(i64),
    /// Another role has this name, whatever its case.
    #[error("the name is taken")]
    NameTaken,
    /// It is not as the caller last saw it.
    #[error("another version")]
    Changed,
    /// No active owner would be left.
    #[error("the last owner")]
    LastOwner,
    /// An active member would be nobody: their person is not known here.
    #[error("a member without an identity")]
    Unlinked,
    /// What was sent breaks rules.
    #[error("the request is invalid")]
    Invalid(Vec<Violation>),
    /// The request came under an idempotency key, and that stands against it.
    #[error("the idempotency key stands against it")]
    Key(#[from] IdempotencyError),
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] DbError),
}

impl Fault for RoleError {
    fn code(&self) -> Code {
        match self {
            Self::Forbidden(source) => source.code(),
            Self::Exceeds(_) | Self::GranterGone => Code::Forbidden,
            Self::NotFound => Code::NotFound,
            Self::Unknown(_) | Self::Invalid(_) => Code::Validation,
            Self::System => Code::SystemRole,
            Self::Assigned(_) => Code::RoleAssigned,
            Self::NameTaken => Code::NameTaken,
            Self::Changed => Code::PreconditionFailed,
            Self::LastOwner => Code::LastOwner,
            Self::Unlinked => Code::MemberUnlinked,
            Self::Key(source) => source.code(),
            Self::Database(source) => source.code(),
        }
    }

    fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::Forbidden(source) => source.detail(),
            Self::Exceeds(permission) => {
                format!("This reaches beyond you: you do not hold the permission {permission}.").into()
            }
            Self::GranterGone => "Whoever gives this is no active member any more.".into(),
            Self::Assigned(1) => "The role is still assigned to one user.".into(),
            Self::Assigned(n) => format!("The role is still assigned to {n} users.").into(),
            _ => self.code().title().into(),
        }
    }

    fn violations(&self) -> Vec<Violation> {
        match self {
            Self::Invalid(violations) => violations.clone(),
            Self::Unknown(pointer) => vec![Violation::new(pointer, "does not exist")],
            Self::Key(source) => source.violations(),
            _ => Vec::new(),
        }
    }
}
