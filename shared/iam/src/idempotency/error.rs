//! How requests under a key fail.

use bulkhead_kernel::fault::{Code, Fault, Violation};
use bulkhead_tenancy::DbError;

/// Why a request under a key was refused or failed; part of the error of each noun.
#[derive(Debug, thiserror::Error)]
pub enum IdempotencyError {
    /// The key breaks its rules.
    #[error("the idempotency key is malformed")]
    Malformed(Violation),
    /// The key came with another request before.
    #[error("the idempotency key was used with another request")]
    Reused,
    /// A stored document is not what we once wrote.
    #[error("a stored document cannot be read")]
    Document(#[from] serde_json::Error),
    /// The database refused or failed.
    #[error("the database failed")]
    Database(#[from] DbError),
}

impl Fault for IdempotencyError {
    fn code(&self) -> Code {
        match self {
            Self::Malformed(_) => Code::Validation,
            Self::Reused => Code::IdempotencyKeyReused,
            Self::Document(_) => Code::Internal,
            Self::Database(source) => source.code(),
        }
    }

    fn violations(&self) -> Vec<Violation> {
        match self {
            Self::Malformed(violation) => vec![violation.clone()],
            _ => Vec::new(),
        }
    }
}
