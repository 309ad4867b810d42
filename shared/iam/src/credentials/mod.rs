//! What proves that somebody is who they say, and how it is renewed: the mailbox and the password.
//!
//! - Who asks for a mail learns nothing: a known address, an unknown one and one that needs no such mail cost the same
//!   work and get the same answer.
//! - A link from a mail works once. A new password ends all sessions, but for the one it was chosen in.
//! - Whoever chose a password through a mail has shown that the address is theirs.
//!
//! Absent here: how often this may be tried (traffic), checking a password at sign-in (sessions).

mod error;
pub mod service;
mod store;

pub use error::CredentialError;
