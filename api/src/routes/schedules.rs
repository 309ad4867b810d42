//! `/platform/schedules`: work that comes back by the calendar. What is shown and changed are the schedules of the home cluster;
//! workers of other clusters have theirs in their own tables.

use axum::{extract::State, http::StatusCode};
use bulkhead_jobs::schedules::{LastJob, ScheduleName, Scheduled, service};
use bulkhead_kernel::fault::Code;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    extract::{Json, Operator, PathId},
    openapi::{OPERATOR, codes},
    problem::Problem,
    state::AppState,
};

/// The newest job of a schedule.
#[derive(Serialize, ToSchema)]
pub struct ScheduleJobBody {
    id: String,
    /// As the job stands; missing once it was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    enqueued_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<DateTime<Utc>>,
}

impl From<LastJob> for ScheduleJobBody {
    fn from(job: LastJob) -> Self {
        Self {
            id: job.id.to_string(),
            state: job.state,
            enqueued_at: job.enqueued_at,
            finished_at: job.finished_at,
        }
    }
}

/// A schedule.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"name": "jobs.prune", "expression": "7 * * * *", "time_zone": "UTC", "catch_up": "one",
    "kind": "jobs.prune", "is_paused": false, "last_tick_at": "2026-11-21T12:07:00Z",
    "next_tick_at": "2026-11-21T13:07:00Z", "last_job": {"id": "job_0190a1b2c3d4e5f60718293a4b5c6d7e", "state": "done",
    "enqueued_at": "2026-11-21T12:07:00Z", "finished_at": "2026-11-21T12:07:01Z"}}))]
pub struct ScheduleBody {
    name: String,
    /// Minute, hour, day of the month, month and day of the week, as in cron.
    expression: String,
    /// Where these are read, by its name in the IANA database.
    time_zone: String,
    /// What becomes of ticks that no worker was there for: `skip`, `one` (one run for all of them) or `all`.
    catch_up: String,
    /// The kind of its jobs.
    kind: String,
    is_paused: bool,
    /// The newest tick that was enqueued.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_tick_at: Option<DateTime<Utc>>,
    /// The tick that comes next, or is due; missing while the schedule is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_tick_at: Option<DateTime<Utc>>,
    /// Its newest job, by a tick or by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_job: Option<ScheduleJobBody>,
}

impl From<Scheduled> for ScheduleBody {
    fn from(schedule: Scheduled) -> Self {
        Self {
            name: schedule.name,
            expression: schedule.expression,
            time_zone: schedule.time_zone,
            catch_up: schedule.catch_up,
            kind: schedule.kind,
            is_paused: schedule.is_paused,
            last_tick_at: schedule.last_tick_at,
            next_tick_at: schedule.next_tick_at,
            last_job: schedule.last_job.map(ScheduleJobBody::from),
        }
    }
}

/// List the schedules of the home cluster
///
/// As the newest worker brought them in; empty before the first one has started.
#[utoipa::path(get, path = "/schedules", operation_id = "list_schedules", tag = "platform",
    responses((status = 200, body = Vec<ScheduleBody>)), extensions(("x-permission" = json!(OPERATOR))))]
pub async fn list(State(state): State<AppState>, _: Operator) -> Result<Json<Vec<ScheduleBody>>, Problem> {
    let found = service::list(state.db()).await?;
    Ok(Json(found.into_iter().map(ScheduleBody::from).collect()))
}

/// Pause a schedule
///
/// Its ticks pass without a job until it is resumed. A job that was enqueued before is run.
#[utoipa::path(post, path = "/schedules/{name}/pause", operation_id = "pause_schedule", tag = "platform",
    params(("name" = String, Path, description = "The schedule")), responses((status = 200, body = ScheduleBody)),
    extensions(("x-permission" = json!(OPERATOR)), ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn pause(
    State(state): State<AppState>,
    Operator(caller): Operator,
    PathId(name): PathId<ScheduleName>,
) -> Result<Json<ScheduleBody>, Problem> {
    Ok(Json(service::pause(&caller.origin, state.db(), &name).await?.into()))
}

/// Resume a schedule
///
/// It goes on with its first tick from now on; those of the pause are not made up for.
#[utoipa::path(post, path = "/schedules/{name}/resume", operation_id = "resume_schedule", tag = "platform",
    params(("name" = String, Path, description = "The schedule")), responses((status = 200, body = ScheduleBody)),
    extensions(("x-permission" = json!(OPERATOR)), ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn resume(
    State(state): State<AppState>,
    Operator(caller): Operator,
    PathId(name): PathId<ScheduleName>,
) -> Result<Json<ScheduleBody>, Problem> {
    Ok(Json(service::resume(&caller.origin, state.db(), &name).await?.into()))
}

/// Run a schedule's job now
///
/// Beside its ticks, and while it is paused as well. Where a job of it still waits or runs, that is the one.
#[utoipa::path(post, path = "/schedules/{name}/run-now", operation_id = "run_schedule_now", tag = "platform",
    params(("name" = String, Path, description = "The schedule")), responses((status = 202, body = ScheduleBody)),
    extensions(("x-permission" = json!(OPERATOR)), ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn run_now(
    State(state): State<AppState>,
    Operator(caller): Operator,
    PathId(name): PathId<ScheduleName>,
) -> Result<(StatusCode, Json<ScheduleBody>), Problem> {
    let seen = service::run_now(&caller.origin, state.db(), &name).await?;
    Ok((StatusCode::ACCEPTED, Json(seen.into())))
}
