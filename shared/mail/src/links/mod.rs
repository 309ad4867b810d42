//! Links in mails: whoever follows one reads the mailbox it was sent to.
//!
//! - The secret is 256 random bits, made when the mail is sent and known to the mail alone; its hash is kept.
//! - A link works once and for a while. One that is redeemed takes the others of its person and purpose with it.
//! - A mail that goes out twice carries two links, and either works.
//!
//! Absent: what following a link does (iam).

mod model;
pub mod service;
mod store;

pub use model::Purpose;
pub(crate) use model::Token;
