//! Handlers: each calls one use case.

pub(crate) mod archives;
pub(crate) mod idempotency;
pub(crate) mod invitations;
pub(crate) mod jobs;
pub(crate) mod mail;
pub(crate) mod members;
pub(crate) mod migrations;
pub(crate) mod sessions;
pub(crate) mod tasks;
pub(crate) mod tenants;
pub(crate) mod vms;
pub(crate) mod webhooks;
