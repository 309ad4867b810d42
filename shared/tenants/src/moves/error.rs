//! What can go wrong with moves.

use std::borrow::Cow;

use bulkhead_kernel::fault::{Code, Fault, Violation};
use bulkhead_tenancy::DbError;

use crate::TenantError;

/// Why a tenant was not moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// There is no such move of this tenant.
    #[error("no such move")]
    NotFound,
    /// Another move of the tenant is open.
    #[error("a move is under way")]
    UnderWay,
    /// The move has ended, or has switched.
    #[error("the move's state does not allow this")]
    State,
    /// What was asked for breaks a rule.
    #[error("the request breaks a rule")]
    Refused(Vec<Violation>),
    /// The two halves do not hold the same.
    #[error("{0}")]
    Differs(String),
    /// Something that uses the tenant did not come to rest in time.
    #[error("{0}")]
    Busy(&'static str),
    /// The tenant itself.
    #[error("tenant")]
    Tenant(#[source] TenantError),
}

impl<E: Into<TenantError>> From<E> for MoveError {
    fn from(error: E) -> Self {
        match error.into() {
            TenantError::Database(error) if error.constraint() == Some("moves_open_key") => Self::UnderWay,
            error => Self::Tenant(error),
        }
    }
}

impl MoveError {
    /// Somebody else carries the move out by now.
    pub(super) const fn is_lost(&self) -> bool {
        matches!(self, Self::Tenant(TenantError::Database(DbError::LeaseLost)))
    }
}

impl Fault for MoveError {
    fn code(&self) -> Code {
        match self {
            Self::NotFound => Code::NotFound,
            Self::UnderWay => Code::MoveUnderWay,
            Self::State => Code::MoveState,
            Self::Refused(_) => Code::Validation,
            Self::Differs(_) | Self::Busy(_) => Code::Internal,
            Self::Tenant(source) => source.code(),
        }
    }

    fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::Tenant(source) => source.detail(),
            _ => self.code().title().into(),
        }
    }

    fn violations(&self) -> Vec<Violation> {
        match self {
            Self::Refused(violations) => violations.clone(),
            _ => Vec::new(),
        }
    }
}
