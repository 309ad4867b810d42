//! What can go wrong with credentials.

use bulkhead_kernel::fault::{Code, Fault, Violation};
use bulkhead_tenancy::DbError;

use crate::passwords::PasswordError;

/// Why an address is not verified, or a password not changed.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// Malformed, unknown, used or too old: one answer for all.
    #[error("the link is not valid")]
    LinkInvalid,
    /// The present password is another one.
    #[error("the present password is wrong")]
    WrongPassword,
    /// The new password breaks rules.
    #[error("the new password is refused")]
    Refused(Violation),
    /// The password could not be hashed or checked.
    #[error("the password could not be hashed or checked")]
    Password(#[from] PasswordError),
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] DbError),
}

impl Fault for CredentialError {
    fn code(&self) -> Code {
        match self {
            Self::LinkInvalid => Code::LinkInvalid,
            Self::WrongPassword | Self::Refused(_) => Code::Validation,
            Self::Password(source) => source.code(),
            Self::Database(source) => source.code(),
        }
    }

    fn violations(&self) -> Vec<Violation> {
        match self {
            Self::WrongPassword => vec![Violation::new("/current_password", "is not the present password")],
            Self::Refused(violation) => vec![violation.clone()],
            _ => Vec::new(),
        }
    }
}
