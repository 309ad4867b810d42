//! Background work: a row in `control.jobs` that commits with the rows that caused it, run by apalis workers over a
//! backend of our own (docs/adr/0003).
//!
//! - A job exists exactly if the change that caused it does: [`enqueue`] takes the transaction.
//! - A job belongs to the tenant of that transaction, or says outright that it belongs to the platform ([`Owner`]).
//! - One attempt holds one lease under a token of its own. What a handler commits through [`Run::commit`] is refused
//!   once the token is no longer the job's; a worker that was asleep can change nothing.
//! - A worker claims only when it has a free place, and only kinds it has a handler for; other kinds wait, parked.
//! - Every attempt ends in one [`Outcome`]. Retries wait longer and longer, in the table; attempts never exceed their
//!   maximum, and a job whose worker died three times over it is dead.
//! - Jobs of a suspended or deleting tenant are parked: no claim sees them, however many there are. One that was running
//!   when its tenant was closed is put off, which costs no attempt.
//! - No exit of a loop ends the worker: each is started again until it is told to stop. A stop gives running jobs their
//!   grace and hands back the rest, which costs them no attempt.
//!
//! Delivery is at least once: a handler finds out from the data what is left to do, and does it once more harmlessly.
//! Time is the database's throughout; workers need not agree on it.
//!
//! Absent: no enqueue without a transaction, no state outside the table, no prefetching, no retry inside a handler, no
//! lock of a worker's name.

mod attempt;
mod backend;
mod backoff;
mod engine;
mod enqueue;
mod fetch;
mod health;
mod heartbeat;
mod inflight;
mod job;
mod listen;
mod outcome;
mod parking;
mod registry;
mod rescue;
mod run;
mod store;
mod supervise;
mod worker;

pub use enqueue::{Owner, enqueue, enqueue_as_owner, enqueue_for};
pub use health::Health;
pub use job::{Job, Queue};
pub use outcome::{IntoOutcome, Outcome};
pub use parking::park;
pub use registry::{DuplicateKind, Registry};
pub use run::{LogLevel, Run};
pub use supervise::supervise;
pub use worker::Worker;
