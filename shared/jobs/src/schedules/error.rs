//! What can go wrong with schedules.

use bulkhead_kernel::fault::{Code, Fault};
use bulkhead_tenancy::DbError;

/// A mistake in the code's list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the schedule {name} cannot be used: {reason}")]
pub struct BadSchedule {
    /// Which one.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Why an operator's call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// There is no such schedule, or not any more.
    #[error("no such schedule")]
    NotFound,
    /// The row cannot be read as a schedule.
    #[error(transparent)]
    Bad(#[from] BadSchedule),
    /// The database.
    #[error("database")]
    Database(#[from] DbError),
}

impl Fault for ScheduleError {
    fn code(&self) -> Code {
        match self {
            Self::NotFound => Code::NotFound,
            Self::Bad(_) => Code::Internal,
            Self::Database(source) => source.code(),
        }
    }
}
