//! How reading the audit log fails.

use std::{borrow::Cow, io};

use bulkhead_kernel::fault::{Code, Fault};
use bulkhead_tenancy::DbError;

use crate::{ScopeError, tokens::KeyError, tokens::TokenError};

/// Why the log could not be read, sealed or verified.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The caller may not.
    #[error("not permitted")]
    Forbidden(#[from] ScopeError),
    /// The database refused or failed.
    #[error("the database failed")]
    Database(#[from] DbError),
    /// The folder of checkpoints.
    #[error("the folder of checkpoints")]
    Checkpoints(#[from] io::Error),
    /// The keys that sign checkpoints.
    #[error("the signing keys cannot be used")]
    Keys(#[from] KeyError),
    /// A checkpoint could not be signed.
    #[error("a checkpoint cannot be signed")]
    Sign(#[from] TokenError),
}

impl Fault for AuditError {
    fn code(&self) -> Code {
        match self {
            Self::Forbidden(error) => error.code(),
            Self::Database(error) => error.code(),
            Self::Checkpoints(_) | Self::Keys(_) | Self::Sign(_) => Code::Internal,
        }
    }

    fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::Forbidden(error) => error.detail(),
            _ => Cow::Borrowed(self.code().title()),
        }
    }
}
