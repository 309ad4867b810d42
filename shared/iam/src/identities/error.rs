//! What can go wrong with identities.

use bulkhead_kernel::fault::{Code, Fault, Violation};
use bulkhead_tenancy::DbError;

use crate::passwords::PasswordError;

/// Why a person could not be registered or shown.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// What was sent breaks rules.
    #[error("the request is invalid")]
    Invalid(Vec<Violation>),
    /// There is no such person.
    #[error("no such identity")]
    NotFound,
    /// Only those who run the platform may do this.
    #[error("not an operator")]
    NotAnOperator,
    /// The password could not be hashed.
    #[error("the password could not be hashed")]
    Password(#[from] PasswordError),
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] DbError),
}

impl Fault for IdentityError {
    fn code(&self) -> Code {
        match self {
            Self::Invalid(_) => Code::Validation,
            Self::NotFound => Code::NotFound,
            Self::NotAnOperator => Code::Forbidden,
            Self::Password(source) => source.code(),
            Self::Database(source) => source.code(),
        }
    }

    fn violations(&self) -> Vec<Violation> {
        match self {
            Self::Invalid(violations) => violations.clone(),
            _ => Vec::new(),
        }
    }
}
