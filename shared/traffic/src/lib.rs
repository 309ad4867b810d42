//! How much of what anybody may do: so far, how often signing in may fail.
//!
//! - Redis counts for all processes together; while it is away each counts for itself. A limit on guessing is never open.
//! - No call waits for Redis longer than the configured timeout, and none waits at all once it is known to be away.
//! - Redis holds nothing that could not be lost: each key has a time to live, and empty is a valid state.
//! - No key and no event names a person: accounts are keyed hashes.
//!
//! Absent: no SQL, no HTTP, no truth about anybody's rights.

pub mod redis;
pub mod sign_in;

pub use self::{
    redis::{MalformedUrl, Redis},
    sign_in::{Attempt, Outcome, SignInThrottle, TooManyFailures},
};
