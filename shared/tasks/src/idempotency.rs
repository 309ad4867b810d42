//! Submitting and running again under an `Idempotency-Key`: the answer is stored in the transaction of the change, so that
//! a repeated request meets either both or neither.

use bulkhead_kernel::ids::JobId;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{OwnJob, State};

/// A job as it was answered. It waited then.
#[derive(Serialize, Deserialize)]
pub(crate) struct Answer {
    id: JobId,
    kind: String,
    state: String,
    max_attempts: u16,
    created_by: String,
    created_at: DateTime<Utc>,
    run_at: DateTime<Utc>,
    deadline_at: Option<DateTime<Utc>>,
    started_at: Option<DateTime<Utc>>,
}

impl From<&OwnJob> for Answer {
    fn from(job: &OwnJob) -> Self {
        Self {
            id: job.id,
            kind: job.kind.clone(),
            state: job.state.as_str().into(),
            max_attempts: job.max_attempts,
            created_by: job.created_by.clone(),
            created_at: job.created_at,
            run_at: job.run_at,
            deadline_at: job.deadline_at,
            started_at: job.started_at,
        }
    }
}

impl From<Answer> for OwnJob {
    fn from(answer: Answer) -> Self {
        Self {
            id: answer.id,
            kind: answer.kind,
            state: State::of(&answer.state),
            attempt: 0,
            max_attempts: answer.max_attempts,
            progress: None,
            result: None,
            has_file: false,
            error: None,
            is_cancel_requested: false,
            created_by: answer.created_by,
            created_at: answer.created_at,
            run_at: answer.run_at,
            deadline_at: answer.deadline_at,
            started_at: answer.started_at,
            finished_at: None,
        }
    }
}
