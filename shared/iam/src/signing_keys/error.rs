//! What can go wrong with signing keys.

use bulkhead_tenancy::DbError;

use crate::tokens::KeyError;

/// Why the signing keys cannot be used or renewed. Never shown to a caller of the API.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// The row was wrapped under another key, altered, or moved from another row.
    #[error("the secret of {0} cannot be unwrapped: auth.key_encryption_key is another one, or the row was altered")]
    Unwrap(String),
    /// The library would not wrap.
    #[error("a secret cannot be wrapped")]
    Wrap,
    /// A key is of no use, or none could be made.
    #[error("a signing key cannot be used or made")]
    Key(#[from] KeyError),
    /// The database failed.
    #[error("the signing keys cannot be read or written")]
    Database(#[from] DbError),
}
