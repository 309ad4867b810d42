//! The HTTP side of Bulkhead: routes, the DTOs they speak, and what surrounds them.
//!
//! Invariants: a handler reads its request, calls one use case and wraps the answer. Every answer that is no success is a
//! problem. Absent here: SQL, rules of the business, and any type that the worker would need.

pub mod cli;
pub mod extract;
pub mod middleware;
pub mod openapi;
pub mod problem;
pub mod router;
pub mod routes;
pub mod serve;
pub mod state;

pub use router::build;
pub use serve::{Listeners, serve};
pub use state::{AppState, Throttles};
