//! The words everything else is written in: ids, clock, page, secrets, the fault taxonomy, configuration, telemetry.
//!
//! Invariants: this crate knows no tenant data, no SQL, and no HTTP but the export of traces. It is the only place besides
//! the two `main.rs` that reads the wall clock or the environment.

pub mod clock;
pub mod config;
pub mod email;
pub mod fault;
pub mod idempotency;
pub mod ids;
pub mod origin;
pub mod page;
pub mod secret;
pub mod telemetry;
