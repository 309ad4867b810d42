//! What can go wrong with sessions.

use bulkhead_kernel::fault::{Code, Fault};
use bulkhead_tenancy::DbError;

use crate::{passwords::PasswordError, tokens::TokenError};

/// Why somebody is not signed in, or not any longer.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No such account, a wrong password, an account that is switched off: one answer for all.
    #[error("the credentials are not valid")]
    CredentialsInvalid,
    /// The password is right, but the address has to be verified first.
    #[error("the e-mail address is not verified")]
    EmailUnverified,
    /// There is no such tenant, or the person is none of its members.
    #[error("no such tenant for this identity")]
    TenantNotFound,
    /// The person is a member, but the tenant cannot be entered now.
    #[error("the tenant is not active")]
    TenantNotActive,
    /// Malformed, unknown, used up, too old, or of a session that ended: one answer for all.
    #[error("the refresh token is not valid")]
    RefreshTokenInvalid,
    /// The session was ended, or the account switched off.
    #[error("the session has ended")]
    Ended,
    /// The caller has no such session.
    #[error("no such session")]
    NotFound,
    /// The password could not be checked.
    #[error("the password could not be checked")]
    Password(#[from] PasswordError),
    /// The access token could not be made.
    #[error("the access token could not be made")]
    Token(#[from] TokenError),
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] DbError),
}

impl Fault for SessionError {
    fn code(&self) -> Code {
        match self {
            Self::CredentialsInvalid => Code::CredentialsInvalid,
            Self::EmailUnverified => Code::EmailUnverified,
            Self::TenantNotFound => Code::TenantNotFound,
            Self::TenantNotActive => Code::TenantNotActive,
            Self::RefreshTokenInvalid => Code::RefreshTokenInvalid,
            Self::Ended => Code::SessionEnded,
            Self::NotFound => Code::NotFound,
            Self::Password(source) => source.code(),
            Self::Token(source) => source.code(),
            Self::Database(source) => source.code(),
        }
    }
}
