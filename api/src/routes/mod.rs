//! One module per noun of the URL: what goes in, what comes out, and handlers that call one use case each.

pub mod archives;
pub mod auth;
pub mod docs;
pub mod doctor;
pub mod lifecycle;
pub mod migrations;
pub mod moves;
pub mod onboarding;
mod page;
pub mod platform;
mod range;
pub mod service;
pub mod tenants;
pub mod users;
pub mod vm_templates;
pub mod vms;
pub mod whoami;
