//! Changes under way: one runs and one waits per VM at the most, each ends in exactly one way, and each step is written
//! down before its call to the provider and again after it.
//!
//! An operation outlives the worker that runs it; [`crate::reconcile`] takes it up where the steps end. Reading and
//! cancelling them through the API comes with its own issue.

mod model;
pub(crate) mod store;

pub(crate) use model::Step;
pub use model::{Kind, Operation, State, StepState};
