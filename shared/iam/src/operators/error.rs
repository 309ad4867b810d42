//! What can go wrong with operators.

use bulkhead_kernel::fault::{Code, Fault, Violation};
use bulkhead_tenancy::DbError;

use crate::identities::IdentityError;

/// Why an operator was not made, changed or shown.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The caller is no operator, or not any more.
    #[error("not an operator")]
    Forbidden,
    /// There is no such operator.
    #[error("no such operator")]
    NotFound,
    /// The person is one, active or not.
    #[error("an operator already")]
    Exists,
    /// The caller is the one concerned.
    #[error("operators do not deactivate themselves")]
    Oneself,
    /// The person could not be made.
    #[error("the person stands against it")]
    Identity(#[from] IdentityError),
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] DbError),
}

impl Fault for OperatorError {
    fn code(&self) -> Code {
        match self {
            Self::Forbidden => Code::Forbidden,
            Self::NotFound => Code::NotFound,
            Self::Exists => Code::OperatorExists,
            Self::Oneself => Code::OperatorOneself,
            Self::Identity(source) => source.code(),
            Self::Database(source) => source.code(),
        }
    }

    fn violations(&self) -> Vec<Violation> {
        match self {
            Self::Identity(source) => source.violations(),
            _ => Vec::new(),
        }
    }
}
