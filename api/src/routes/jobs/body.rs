//! What goes over the wire about jobs.

use bulkhead_kernel::ids::JobId;
use bulkhead_tasks::{JobFilter, OwnJob, State, Submission};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::{
    problem::Problem,
    routes::cursor::{PartQuery, time},
};

/// Work that somebody wants to have done.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"type": "usage.report", "params": {"from": "2026-11-01T00:00:00Z", "to": "2026-11-20T00:00:00Z"}}))]
pub struct SubmitJob {
    /// `usage.report`, `tenant.export` or `resources.import`.
    #[serde(rename = "type")]
    kind: String,
    /// What the type takes.
    #[serde(default)]
    #[schema(value_type = Object)]
    params: Map<String, Value>,
    /// Not before this time; now where it is left out or past.
    run_at: Option<DateTime<Utc>>,
    /// Of no use after this time: it is not started any more, and is ended where it runs.
    deadline: Option<DateTime<Utc>>,
}

impl From<SubmitJob> for Submission {
    fn from(wanted: SubmitJob) -> Self {
        Self {
            kind: wanted.kind,
            params: wanted.params,
            run_at: wanted.run_at,
            deadline: wanted.deadline,
        }
    }
}

/// Which jobs.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct JobQuery {
    /// `queued`, `scheduled`, `parked`, `running`, `done`, `failed` or `cancelled`
    state: Option<String>,
    /// Of this type alone
    #[serde(rename = "type")]
    #[param(rename = "type")]
    kind: Option<String>,
    /// Submitted at this time or later, RFC 3339
    since: Option<String>,
    /// Submitted before this time, RFC 3339
    until: Option<String>,
}

impl JobQuery {
    pub(super) fn filter(self, part: &PartQuery) -> Result<(u32, JobFilter), Problem> {
        let mut violations = Vec::new();
        let (limit, after) = part.read(&mut violations);
        let state = self.state.as_deref().map(State::parse).transpose();
        let state = state.unwrap_or_else(|violation| {
            violations.push(violation);
            None
        });
        let since = time("since", self.since.as_deref(), &mut violations);
        let until = time("until", self.until.as_deref(), &mut violations);
        if !violations.is_empty() {
            return Err(Problem::invalid(violations));
        }
        let filter = JobFilter {
            state,
            kind: self.kind,
            since,
            until,
            after,
        };
        Ok((limit, filter))
    }
}

/// How far a job is.
#[derive(Serialize, ToSchema, PartialEq, Eq, Clone, Copy)]
#[schema(as = JobProgress, example = json!({"done": 400, "total": 1000}))]
pub struct ProgressBody {
    /// In units of the type: rows, sections, files.
    done: i64,
    /// Null where that is not known.
    total: Option<i64>,
}

/// A job.
#[derive(Serialize, ToSchema)]
#[schema(as = Job, example = json!({"id": "job_0190a1b2c3d4e5f60718293a4b5c6d7e", "type": "usage.report", "state": "done",
    "attempt": 1, "max_attempts": 8, "progress": {"done": 5, "total": 5}, "result": {"rows": 42, "bytes": 1733},
    "result_url": "/api/v1/jobs/job_0190a1b2c3d4e5f60718293a4b5c6d7e/result", "error": null, "cancel_requested": false,
    "created_by": "usr_0190a1b2c3d4e5f60718293a4b5c6d7e", "created_at": "2026-11-20T12:00:00Z",
    "run_at": "2026-11-20T12:00:00Z", "deadline": null, "started_at": "2026-11-20T12:00:00.012Z",
    "finished_at": "2026-11-20T12:00:00.094Z"}))]
pub struct JobBody {
    id: String,
    /// What is done.
    #[serde(rename = "type")]
    kind: String,
    /// `queued` waits for a worker, `scheduled` for its time or that of the next attempt, `parked` until the tenant is open
    /// again; `running`; `done`, `failed` and `cancelled` are ends.
    state: &'static str,
    /// How often it was started.
    attempt: u16,
    max_attempts: u16,
    /// Null before it tells.
    progress: Option<ProgressBody>,
    /// What it came to, or so far; depends on the type.
    #[schema(value_type = Option<Object>)]
    result: Option<Value>,
    /// Where the file is that it came to.
    result_url: Option<String>,
    /// Why it failed: `deadline_exceeded`, `worker_lost`, or a problem code, of which `internal` is our own trouble.
    error: Option<String>,
    /// It runs and was asked to end.
    cancel_requested: bool,
    /// Who submitted it.
    created_by: String,
    created_at: DateTime<Utc>,
    /// When it was or is due.
    run_at: DateTime<Utc>,
    deadline: Option<DateTime<Utc>>,
    /// When the last attempt began.
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

impl From<OwnJob> for JobBody {
    fn from(job: OwnJob) -> Self {
        Self {
            progress: progress(&job),
            result_url: job.has_file.then(|| result_url(job.id)),
            id: job.id.to_string(),
            kind: job.kind,
            state: job.state.as_str(),
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            result: job.result,
            error: job.error,
            cancel_requested: job.is_cancel_requested,
            created_by: job.created_by,
            created_at: job.created_at,
            run_at: job.run_at,
            deadline: job.deadline_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
        }
    }
}

pub(super) fn progress(job: &OwnJob) -> Option<ProgressBody> {
    job.progress.map(|(done, total)| ProgressBody { done, total })
}

fn result_url(id: JobId) -> String {
    format!("/api/v1/jobs/{id}/result")
}
