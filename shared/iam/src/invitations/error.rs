//! What can go wrong with invitations.

use std::borrow::Cow;

use bulkhead_kernel::fault::{Code, Fault, Violation};
use bulkhead_tenancy::DbError;

use super::Status;
use crate::{
    ScopeError, idempotency::IdempotencyError, identities::IdentityError, members::MemberError,
    passwords::PasswordError, roles::RoleError,
};

/// Why an invitation was not made, changed, shown or accepted.
#[derive(Debug, thiserror::Error)]
pub enum InvitationError {
    /// The principal may not.
    #[error("not permitted")]
    Forbidden(#[from] ScopeError),
    /// There is no such invitation.
    #[error("no such invitation")]
    NotFound,
    /// An active member has the address.
    #[error("already a member")]
    AlreadyMember,
    /// Another invitation waits for the address.
    #[error("already invited")]
    AlreadyInvited,
    /// So many invitations may wait, and do.
    #[error("{0} invitations are pending")]
    TooMany(i64),
    /// It does not wait any more.
    #[error("the invitation is {}", .0.as_str())]
    Closed(Status),
    /// It is not as the caller last saw it.
    #[error("another version")]
    Changed,
    /// What was sent is no link's secret, or the tenant is closed.
    #[error("not a link that works")]
    TokenInvalid,
    /// The link was genuine, and this has become of its invitation.
    #[error("the link is over: {}", .0.as_str())]
    Over(Status),
    /// Whoever is signed in is not the one who was invited.
    #[error("for another address")]
    EmailMismatch,
    /// Whoever is signed in has not shown that the address is theirs.
    #[error("the address is not verified")]
    EmailUnverified,
    /// The address has an account, and nobody is signed in to it.
    #[error("there is an account")]
    AccountExists,
    /// A role was deleted since.
    #[error("a role is gone")]
    RoleGone,
    /// Whoever answers for it has left, or may not give this any more.
    #[error("the granter may not give this any more")]
    NotBacked,
    /// It is about roles, and those stand against it.
    #[error("the roles stand against it")]
    Role(#[from] RoleError),
    /// The member could not be made.
    #[error("the member stands against it")]
    Member(#[from] MemberError),
    /// The person could not be found.
    #[error("the identity stands against it")]
    Identity(#[from] IdentityError),
    /// The password could not be hashed.
    #[error("the password could not be hashed")]
    Password(#[from] PasswordError),
    /// What was sent breaks rules.
    #[error("the request is invalid")]
    Invalid(Vec<Violation>),
    /// The request came under an idempotency key, and that stands against it.
    #[error("the idempotency key stands against it")]
    Key(#[from] IdempotencyError),
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] DbError),
}

impl Fault for InvitationError {
    fn code(&self) -> Code {
        match self {
            Self::Forbidden(source) => source.code(),
            Self::NotFound => Code::NotFound,
            Self::AlreadyMember => Code::AlreadyMember,
            Self::AlreadyInvited => Code::AlreadyInvited,
            Self::TooMany(_) => Code::QuotaExceeded,
            Self::Closed(_) => Code::InvitationClosed,
            Self::Changed => Code::PreconditionFailed,
            Self::TokenInvalid => Code::InvitationInvalid,
            Self::Over(Status::Pending | Status::Expired) => Code::InvitationExpired,
            Self::Over(Status::Revoked) => Code::InvitationRevoked,
            Self::Over(Status::Accepted) => Code::InvitationUsed,
            Self::EmailMismatch => Code::InvitationEmailMismatch,
            Self::EmailUnverified => Code::EmailUnverified,
            Self::AccountExists => Code::AccountExists,
            Self::RoleGone => Code::InvitationRoleGone,
            Self::NotBacked => Code::InvitationNotBacked,
            Self::Role(source) => source.code(),
            Self::Member(source) => source.code(),
            Self::Identity(source) => source.code(),
            Self::Password(source) => source.code(),
            Self::Invalid(_) => Code::Validation,
            Self::Key(source) => source.code(),
            Self::Database(source) => source.code(),
        }
    }

    fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::Forbidden(source) => source.detail(),
            Self::Role(source) => source.detail(),
            Self::Member(source) => source.detail(),
            Self::TooMany(limit) => format!("{limit} invitations are pending, which is the most.").into(),
            Self::Closed(status) => format!("The invitation is {}.", status.as_str()).into(),
            _ => self.code().title().into(),
        }
    }

    fn violations(&self) -> Vec<Violation> {
        match self {
            Self::Invalid(violations) => violations.clone(),
            Self::Role(source) => source.violations(),
            Self::Member(source) => source.violations(),
            Self::Key(source) => source.violations(),
            _ => Vec::new(),
        }
    }
}
