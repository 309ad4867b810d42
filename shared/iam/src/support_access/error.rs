//! What can go wrong with support access.

use std::borrow::Cow;

use bulkhead_kernel::fault::{Code, Fault};
use bulkhead_tenancy::DbError;

use crate::ScopeError;

/// Why support access was not given, shown or ended.
#[derive(Debug, thiserror::Error)]
pub enum SupportError {
    /// The principal may not.
    #[error("not permitted")]
    Forbidden(#[from] ScopeError),
    /// The caller is no operator, or not any more.
    #[error("not an operator")]
    NotAnOperator,
    /// There is no such support access to this tenant.
    #[error("no such support access")]
    NotFound,
    /// The database refused or failed.
    #[error("the database failed")]
    Database(#[from] DbError),
}

impl Fault for SupportError {
    fn code(&self) -> Code {
        match self {
            Self::Forbidden(source) => source.code(),
            Self::NotAnOperator => Code::Forbidden,
            Self::NotFound => Code::NotFound,
            Self::Database(source) => source.code(),
        }
    }

    fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::Forbidden(source) => source.detail(),
            _ => self.code().title().into(),
        }
    }
}
