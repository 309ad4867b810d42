//! One module per noun of the URL: what goes in, what comes out, and handlers that call one use case each.

pub mod api_keys;
pub mod archives;
pub mod audit_log;
pub mod auth;
pub mod clusters;
pub mod credentials;
pub mod docs;
pub mod doctor;
pub mod invitations;
pub mod lifecycle;
pub mod migrations;
pub mod moves;
pub mod onboarding;
mod page;
pub mod permissions;
pub mod platform;
mod range;
pub mod resources;
pub mod roles;
pub mod service;
pub mod sessions;
pub mod tenant_users;
pub mod tenants;
pub mod users;
pub mod vm_templates;
pub mod vms;
pub mod whoami;
