//! What can go wrong with a migration of the fleet.

use std::borrow::Cow;

use bulkhead_kernel::{
    fault::{Code, Fault, Violation},
    ids::MigrationRunId,
};

use super::RunState;
use crate::DbError;

/// Why a run could not be started, steered or carried out. A tenant that fails is no error of its run.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// There is no such run.
    #[error("there is no such migration")]
    NotFound,
    /// Another run is open.
    #[error("another migration is open")]
    Open,
    /// Somebody else carries the run out.
    #[error("{0} is being carried out by another process")]
    Leased(MigrationRunId),
    /// Another runner has taken the run over; what this one had under way is undone.
    #[error("the run was taken over by another process")]
    LeaseLost,
    /// The run's state does not allow it.
    #[error("the migration is {}", .0.as_str())]
    State(RunState),
    /// What was asked for breaks rules.
    #[error("the request is invalid")]
    Invalid(Vec<Violation>),
    /// This build does not know the version the run leads to.
    #[error("this build leads to version {head}, the run to version {target}")]
    UnknownTarget {
        /// Where the run leads to.
        target: i64,
        /// Where this build can lead to.
        head: i64,
    },
    /// A released migration is not what it was when it first ran.
    #[error("{0} was changed after it first ran")]
    Changed(String),
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] DbError),
}

impl<E: Into<DbError>> From<E> for FleetError {
    fn from(error: E) -> Self {
        let error = error.into();
        match error.constraint() {
            Some("migration_runs_open_key") => Self::Open,
            _ => Self::Database(error),
        }
    }
}

impl Fault for FleetError {
    fn code(&self) -> Code {
        match self {
            Self::NotFound => Code::NotFound,
            Self::Open | Self::Leased(_) => Code::MigrationUnderWay,
            Self::State(_) => Code::MigrationState,
            Self::Invalid(_) => Code::Validation,
            Self::LeaseLost | Self::UnknownTarget { .. } => Code::Overloaded,
            Self::Changed(_) => Code::Internal,
            Self::Database(source) => source.code(),
        }
    }

    fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::State(state) => format!("The migration is {}.", state.as_str()).into(),
            _ => self.code().title().into(),
        }
    }

    fn violations(&self) -> Vec<Violation> {
        match self {
            Self::Invalid(violations) => violations.clone(),
            _ => Vec::new(),
        }
    }
}
