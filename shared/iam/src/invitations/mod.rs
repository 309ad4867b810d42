//! Invitations: somebody is to become a member with some roles, once they follow the link in a mail.
//!
//! - The secret of a link is made when its mail is sent and is known to the mail alone; its hash is kept. A mail that goes
//!   out twice carries two secrets, and either works. Sending again ends those before it.
//! - Following the link proves the address: who has no account gets one that is verified, who has one must be signed in
//!   to it with a verified address. Nobody else can use the link.
//! - Nobody invites to more than they hold, also not by changing or resending an invitation; and when it is accepted
//!   whoever did so last must still hold it.
//! - At most one invitation of a tenant waits for an address, and one is accepted once.
//! - Only who has a genuine secret learns what became of its invitation; all else is told to be no invitation.
//!
//! Absent: a sweep. Whether an invitation has expired follows from its time when it is looked at.

pub mod acceptance;
mod delivery;
mod error;
mod idempotency;
pub mod jobs;
mod model;
pub mod service;
mod store;
mod token;

pub use delivery::deliver;
pub use error::InvitationError;
pub use model::{Accepted, Invitation, InvitedRole, Lifetime, NewInvitation, NewPerson, Offer, Status};
