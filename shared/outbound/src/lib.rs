//! Calls to addresses that tenants name: one HTTP exchange with somebody on the public internet, and with nobody else.
//!
//! - A URL is http or https, on a port that is allowed, without credentials ([`Target`]).
//! - A name is resolved here, every address of it is judged ([`Policy`]), and what is dialled is exactly an address that
//!   was judged: a resolver that answers differently the next time changes nothing.
//! - A whole exchange has one deadline, and its answer one size; both bite while the answer arrives.
//! - What an error says ([`OutboundError::word`]) does not tell what stands in our network.
//!
//! Absent: no redirect is followed, no proxy is asked, no connection is used twice, no cookie is kept, nothing is tried
//! again. Whoever calls decides what an answer means.

mod address;
mod client;
mod dial;
mod error;
mod resolve;
mod target;
#[cfg(test)]
mod tests;

pub use address::is_public;
pub use client::{Answer, Call, Outbound};
pub use dial::{Dial, Stream};
pub use error::OutboundError;
pub use resolve::Resolve;
pub use target::{Policy, Refusal, Target};
