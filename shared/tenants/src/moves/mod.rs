//! Moving a tenant from one cluster to another (docs/adr/0010, docs/scaling.md).
//!
//! - A move is a row whose state is the step that is next. Every step can be had twice, so one that was killed goes on.
//! - The tenant is read and changed while its rows are copied. Triggers keep the keys of what changes, and rounds carry the
//!   present state of those rows over (docs/adr/0020).
//! - From the freeze, which begins when little is left to carry over, to the end it cannot be changed: the database refuses a
//!   write whoever asks, jobs and machines wait.
//! - Nothing is switched before both sides had the same rows at one moment, by number and checksum, and every change since was
//!   compared. The switch is one transaction at home.
//! - Until then a failure, or anybody who asks, ends the move: the target's half goes and the source thaws. From then on
//!   it only goes forward.
//! - Every change to either half is made under a lock of the tenant's row there, which names the move. A worker that was
//!   asleep finds another name, or none.
//!
//! Absent here: COPY and checksums (tenancy), machines, which stay where their providers have them.

mod error;
mod model;
mod rounds;
pub mod service;
mod steps;
mod store;

pub use error::MoveError;
pub use model::{CARRIED, Move, MoveState, STAYS};
pub use steps::{carry_on, carry_out};
