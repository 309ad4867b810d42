//! What can be wrong with tokens and the keys that sign them.

use std::path::PathBuf;

use bulkhead_kernel::fault::{Code, Fault};

/// Why an access token is refused, or could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It is none of ours, was altered, or is not for us. What exactly is wrong with it is nobody's business.
    #[error("the access token is not valid")]
    Invalid,
    /// It was good once.
    #[error("the access token has expired")]
    Expired,
    /// Our own key would not sign.
    #[error("signing failed")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

impl Fault for TokenError {
    fn code(&self) -> Code {
        match self {
            Self::Invalid => Code::TokenInvalid,
            Self::Expired => Code::TokenExpired,
            Self::Sign(_) => Code::Internal,
        }
    }
}

/// Why the signing keys cannot be used or made; shown to the operator who starts a program.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The directory has no file that ends in `.pem`.
    #[error("there is no signing key in {0}: run generate-keys")]
    Missing(PathBuf),
    /// A file or the directory cannot be read or written.
    #[error("cannot read or write {0}")]
    Io(PathBuf, #[source] std::io::Error),
    /// A file is not an RSA private key in PKCS#8 PEM.
    #[error("{0} is not an RSA private key in PKCS#8 PEM form")]
    Malformed(PathBuf),
    /// A key is shorter than 2048 bits.
    #[error("the key in {0} has fewer than 2048 bits")]
    Short(PathBuf),
    /// No key could be made.
    #[error("making a key failed")]
    Generate(#[source] rsa::Error),
}
