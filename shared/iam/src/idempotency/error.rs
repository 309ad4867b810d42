//! How requests under a key fail.

use bulkhead_kernel::fault::Violation;
use bulkhead_tenancy::DbError;

/// Why a request under a key was refused or failed. Each noun tells it in its own error.
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
