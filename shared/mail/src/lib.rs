//! Mail to people: a template by name, a person by id.
//!
//! - Nothing is sent outside a job, and the job is enqueued in the transaction of the change it tells of; what is rolled
//!   back is never told.
//! - Addresses are read when the mail is sent. They stand in no payload, no log and no error.
//! - Delivery is at least once. The Message-ID is made from the job's id, so a repeat can be recognised and dropped.
//! - Values in a template are one line of plain text each, so that none can add a header or a line.
//! - Mails that may reach a stranger (somebody else typed the address) carry no text that anyone could choose.
//! - Text and HTML say the same: both are made from one file. The HTML loads nothing from anywhere.
//!
//! Absent: no attachments, no second recipient, no retry beside the queue's.

mod deliver;
mod error;
mod html;
mod invitation;
pub mod jobs;
mod letter;
pub mod links;
mod mailer;
mod smtp;
mod store;
mod template;

pub use deliver::deliver;
pub use error::MailError;
pub use invitation::InvitationMail;
pub use mailer::Mailer;
pub use template::Template;
