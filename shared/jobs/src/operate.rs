//! What people do to jobs.

use bulkhead_kernel::ids::JobId;
use bulkhead_tenancy::{ControlTx, DbError};

use crate::{outcome::State, store};

/// Why a job could not be given another try.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// A waiting or running job has its unique key.
    #[error("a live job has its key")]
    KeyTaken,
    /// The database, as ever.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Ends a waiting job, which then never runs, or asks the worker of a running one to end it, which hears of it within
/// two seconds of the commit. The state afterwards; one that has ended stays as it is, and `None` does not exist.
pub async fn cancel(tx: &mut ControlTx, job: JobId) -> Result<Option<State>, DbError> {
    store::cancel(tx.conn(), job).await
}

/// Gives a dead or cancelled job all its attempts again, under its old key and without its deadline. The state
/// afterwards; any other job stays as it is, and `None` does not exist. After an error `tx` can only be dropped.
pub async fn retry(tx: &mut ControlTx, job: JobId) -> Result<Option<State>, RetryError> {
    store::retry(tx.conn(), job)
        .await
        .map_err(|error| match error.constraint() {
            Some("jobs_unique_key") => RetryError::KeyTaken,
            _ => RetryError::Database(error),
        })
}
