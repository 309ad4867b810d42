//! Work that comes back by the calendar (docs/schedules.md).
//!
//! - A tick is enqueued once, over any number of workers: its row and its job commit together, and who comes second finds
//!   the row. No worker leads, so none is waited for.
//! - What is run stands in the table. A worker brings the code's list there when it starts; from then on an operator's
//!   pause, and a change by a newer worker, bite within a poll.
//! - Time is the database's. A tick is a moment of the calendar; how late it was noticed changes nothing.
//! - What became of ticks that nobody was there for is decided by the schedule's [`CatchUp`] and nothing else.
//!
//! Absent: no leader, no schedule that a tenant makes, no tick more often than once a minute.

mod error;
mod list;
mod model;
mod plan;
mod run;
pub mod service;
mod store;
mod timing;

pub use error::{BadSchedule, ScheduleError};
pub use list::Schedule;
pub use model::{CatchUp, LastJob, ScheduleName, Scheduled};
pub use run::{declare, enqueue_due, run};
