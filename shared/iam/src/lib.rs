//! People and what they may do: who somebody is (identities), how they stay signed in (sessions, tokens, passwords), where
//! they belong (memberships, members) and what that allows (roles, grants, permissions, scope). Programs come with API keys.
//! Who runs the platform is an operator, and enters a tenant by support access alone.
//!
//! - People are global; rights are the tenant's. What a request may do is read from the tenant's own rows, at most a
//!   second old, never from the token.
//! - Every secret is kept as a hash. An answer for an account that exists equals the one for an account that does not,
//!   in words and in time.
//!
//! Absent here: HTTP, cookies, and any way to a tenant's data but the transactions of tenancy.

pub mod api_keys;
pub mod audit_log;
mod bundle;
pub mod credentials;
#[cfg(test)]
mod fixtures;
pub mod grants;
pub mod idempotency;
pub mod identities;
pub mod invitations;
pub mod members;
pub mod memberships;
pub mod operators;
pub mod passwords;
pub mod permissions;
pub mod relinking;
pub mod roles;
mod scope;
mod search;
pub mod sessions;
pub mod signing_keys;
pub mod standing;
pub mod support_access;
pub mod tokens;

pub use bundle::Iam;
pub use scope::{KeyHolder, Person, Principal, Scope, ScopeError, Supporter};
