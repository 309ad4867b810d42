//! Why a mail was not sent.

use bulkhead_jobs::Outcome;
use bulkhead_tenancy::DbError;

/// What stands between a mail and its reader. No text here names an address: relays like to repeat them, so of their
/// answers only the number is kept. It is no `Fault`, as it never reaches a caller of the API.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// There is nobody to write to (any more).
    #[error("there is no such identity")]
    UnknownIdentity,
    /// The address, or a mail to it, cannot be written down as mail wants it.
    #[error("the address cannot be written to")]
    Unmailable,
    /// The relay will never take this mail.
    #[error("the relay refuses the mail for good with {0}")]
    Refused(u16),
    /// The relay does not take the mail now, for the reason given.
    #[error("the relay does not take the mail now: {0}")]
    Unavailable(String),
    /// The settings do not make a mailer.
    #[error("mail cannot be set up: {0}")]
    Setup(String),
    /// The recipient could not be read.
    #[error("the recipient could not be read")]
    Database(#[from] DbError),
}

impl From<MailError> for Outcome {
    fn from(error: MailError) -> Self {
        match error {
            MailError::Database(fault) => Self::of(&fault),
            MailError::UnknownIdentity | MailError::Unmailable | MailError::Refused(_) => {
                Self::Discard(error.to_string())
            }
            MailError::Unavailable(_) | MailError::Setup(_) => Self::Retry(error.to_string()),
        }
    }
}
