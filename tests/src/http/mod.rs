//! The product as its users see it: real processes, asked over HTTP.

mod api_keys;
mod bad_input;
mod crash;
mod foreign_ids;
mod guessing;
mod hang_ups;
mod lifecycle;
mod operations;
mod outages;
mod purge;
mod sign_up;
mod slow_clients;
mod tenant_choice;

pub(crate) use crash::until_blocked;
