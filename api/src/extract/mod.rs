//! What handlers take: bodies, queries and ids that are already checked, and the scope they run in.

mod bearer;
mod body;
mod client_address;
mod decode;
mod form;
mod idempotency;
mod if_match;
mod json;
mod paging;
mod path;
mod prefer;
mod query;
mod requested;
mod scope;
pub(crate) mod selector;

pub(crate) use body::media_type;
pub use client_address::ClientAddress;
pub use form::JsonOrForm;
pub use idempotency::IdempotencyHeader;
pub use if_match::IfMatch;
pub(crate) use if_match::etag;
pub use json::{Json, OptionalJson};
pub use paging::{PageQuery, Paging};
pub use path::{PathId, PathIds};
pub use prefer::Wait;
pub use query::Query;
pub use requested::Requested;
pub use scope::{FreshlyScoped, Operator, Scoped, SignedIn};
