//! The product as its users see it: real processes, asked over HTTP.

mod access;
mod api_keys;
mod authority;
mod bad_input;
mod bounds;
mod cost;
mod crash;
mod foreign_ids;
mod guessing;
mod hang_ups;
mod idempotency;
mod keys;
mod lifecycle;
mod operations;
mod outages;
mod preconditions;
mod purge;
mod roles;
mod sign_up;
mod slow_clients;
mod tenant_choice;

pub(crate) use crash::{hold_step, until_blocked};
