//! The keys that sign access tokens, and how one follows another (docs/adr/0011).
//!
//! - A key is published for a while before it signs, and verifies until the last token it signed has run out. Both times
//!   stand in its row when the next key is made, so every process does the same at the same moment without being told.
//! - Private halves are wrapped (AES-256-GCM) under a key that the database does not have, each bound to its own row. They
//!   are removed once they verify nothing any more.
//! - The first key is the newest file of `auth.keys_dir`: an installation without rows takes it over, and one that cannot
//!   reach the database goes on with it.
//!
//! Absent: a key that signs and is not in a row, a way to get a private half out.

mod error;
mod model;
pub mod service;
mod store;
mod vault;

pub use error::SigningKeyError;
pub(crate) use model::Ring;
pub use vault::Vault;
