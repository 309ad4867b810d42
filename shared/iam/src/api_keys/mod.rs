//! API keys: how programs come in.
//!
//! - The text of a key names its tenant and itself, so it is looked up inside its tenant and nowhere else; a mistyped one
//!   is refused by its checksum alone. Of the secret there is the SHA-256, and the text is shown once.
//! - What a key allows is what it was given, cut down to what its owner may do now, less what only people do. It is
//!   believed for a second at the most, like the authority of people.
//! - Nobody makes, widens or rotates a key that can do more than they can, and nobody but its owner gets at the secret of a
//!   member's key. Keys cannot manage keys.
//! - Unknown, expired and revoked look the same to the caller. The log tells them apart, and so does the audit log for a
//!   secret that was right.
//!
//! Absent: a table of keys outside their tenants, a write in a request that only uses a key, any way to read a secret back.

mod authority;
mod check;
mod error;
mod idempotency;
mod leak;
mod log;
mod model;
mod network;
pub mod service;
mod store;
mod text;
mod wanted;

pub use authority::{KeyAuthority, Refusal};
pub(crate) use check::permissions_now;
pub use check::{authority, authority_now, note_refusal};
pub use error::ApiKeyError;
pub use leak::report;
pub(crate) use log::KeyLog;
pub use log::write;
pub use model::{ApiKey, KeyFilter, MAX_OVERLAP_SECS, Minted, Owner};
pub use network::Network;
pub use store::KEY_SQL;
pub use text::{KeyText, PREFIX};
pub use wanted::{Changes, End, NewKey};

use bulkhead_kernel::ids::{ApiKeyId, TenantId};

use crate::members::AuthorityCache;

/// What was said of the keys that were just used.
pub(crate) type KeyCache = AuthorityCache<(TenantId, ApiKeyId), KeyAuthority>;
