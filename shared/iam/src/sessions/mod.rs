//! Staying signed in: a session is one sign-in on one device, carried on by a line of refresh tokens.
//!
//! - A refresh token works once. Its predecessor works again for a few seconds, as long as nobody used the successor,
//!   and gives that same successor: a client that lost the answer, or asked twice at once, loses nothing. Any other
//!   second use is theft and ends the session.
//! - All that counts is in PostgreSQL under the lock of the session's row. Of secrets only hashes are kept; a successor
//!   derives from the secret it replaces.
//! - A session ends by itself when it rests too long or gets too old.
//! - One that is long over is removed ([`jobs`]).
//!
//! Absent here: access tokens themselves (tokens), rights in a tenant (members).

pub mod devices;
mod error;
pub mod jobs;
mod model;
mod refresh;
pub mod service;
mod sightings;
mod store;
pub mod watch;

pub use error::SessionError;
pub use model::{Device, SignIn, TokenPair};
pub(crate) use sightings::{Seen, Sightings};
