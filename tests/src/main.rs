//! Every test that needs a database, a process or a server. One binary, so that it is linked once.

#![expect(
    clippy::pedantic,
    clippy::unwrap_used,
    reason = "tests may be plain, and fail where they stand"
)]

mod archives;
mod audit;
mod compute;
mod fleet;
#[expect(unreachable_pub, reason = "a test binary has no public interface")]
mod harness;
mod house;
mod http;
mod iam;
mod invitations;
mod jobs;
mod mail;
mod operators;
mod placement;
mod resources;
mod tasks;
mod tenancy;
mod tenants;
mod traffic;
mod webhooks;
