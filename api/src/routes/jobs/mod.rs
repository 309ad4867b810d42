//! `/jobs`: work in the background, submitted, watched, ended and run again by the tenant it is for.

mod body;
mod events;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bulkhead_iam::permissions::Permission;
use bulkhead_kernel::{fault::Code, ids::JobId};
use bulkhead_tasks::{OwnJob, Submission, service};

pub use body::{JobBody, JobQuery, ProgressBody, SubmitJob};

use super::cursor::{PartBody, PartQuery};
use crate::{
    extract::{IdempotencyHeader, Json, PathId, Query, Scoped},
    openapi::codes,
    problem::Problem,
    state::AppState,
};

/// The job that was accepted, and where it is watched.
fn accepted(job: OwnJob) -> Response {
    let location = [(header::LOCATION, format!("/api/v1/jobs/{}", job.id))];
    (StatusCode::ACCEPTED, location, Json(JobBody::from(job))).into_response()
}

/// Submit a job
///
/// `type` says what is done: `usage.report` writes a report over what the tenant has and does (`from`, `to`), `tenant.export`
/// an archive of it (owners alone), `resources.import` makes up to 10,000 resources (`resources`). Each needs the permission
/// of what it does as well: `usage:read`, `tenant:export`, `resource:create`. It is due at `run_at` and of no use after
/// `deadline`. Under an `Idempotency-Key` the same request makes one job, however often it is sent.
#[utoipa::path(post, path = "/jobs", operation_id = "create_job", tag = "jobs",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters")),
    responses((status = 202, body = JobBody, headers(("Location")))),
    extensions(("x-permission" = json!(Permission::JobCreate.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::JobDuplicate, Code::IdempotencyKeyReused])))))]
pub async fn create(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    IdempotencyHeader(key): IdempotencyHeader,
    Json(wanted): Json<SubmitJob>,
) -> Result<Response, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let job = service::submit(&scope, &mut tx, &Submission::from(wanted), key.as_deref()).await?;
    tx.commit().await?;
    Ok(accepted(job))
}

/// List the jobs
///
/// The newest first; read on with `cursor`.
#[utoipa::path(get, path = "/jobs", operation_id = "list_jobs", tag = "jobs",
    params(PartQuery, JobQuery), responses((status = 200, body = PartBody<JobBody>)),
    extensions(("x-permission" = json!(Permission::JobRead.as_str()))))]
pub async fn list(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    Query(part): Query<PartQuery>,
    Query(query): Query<JobQuery>,
) -> Result<Json<PartBody<JobBody>>, Problem> {
    let (limit, filter) = query.filter(&part)?;
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let jobs = service::list(&scope, &mut tx, &filter, limit).await?;
    tx.commit().await?;
    let last = jobs.last().map(|job| job.id);
    let items = jobs.into_iter().map(JobBody::from).collect();
    Ok(Json(PartBody::new(items, limit, last)))
}

/// Show a job
#[utoipa::path(get, path = "/jobs/{id}", operation_id = "get_job", tag = "jobs",
    params(("id" = String, Path, description = "The job")), responses((status = 200, body = JobBody)),
    extensions(("x-permission" = json!(Permission::JobRead.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn get(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathId(id): PathId<JobId>,
) -> Result<Json<JobBody>, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let job = service::get(&scope, &mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(job.into()))
}

/// Download what a job came to
///
/// The file of a job that has a `result_url`, for those who may have it done: a report needs `usage:read` as well.
#[utoipa::path(get, path = "/jobs/{id}/result", operation_id = "download_job_result", tag = "jobs",
    params(("id" = String, Path, description = "The job")),
    responses((status = 200, content((String = "text/csv", example = json!("a table with a heading"))))),
    extensions(("x-permission" = json!(Permission::JobRead.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn download(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathId(id): PathId<JobId>,
) -> Result<Response, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let file = service::get_file(&scope, &mut tx, id).await?;
    tx.commit().await?;
    let name = format!("attachment; filename=\"{}\"", file.name);
    let headers = [
        (header::CONTENT_TYPE, file.media_type),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((headers, file.content).into_response())
}

/// Cancel a job
///
/// One that waits never runs; one that runs is asked to end, keeps what it has done, and ends within seconds.
#[utoipa::path(post, path = "/jobs/{id}/cancel", operation_id = "cancel_job", tag = "jobs",
    params(("id" = String, Path, description = "The job")), responses((status = 200, body = JobBody)),
    extensions(("x-permission" = json!(Permission::JobCancel.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::JobState])))))]
pub async fn cancel(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathId(id): PathId<JobId>,
) -> Result<Json<JobBody>, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let job = service::cancel(&scope, &mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(job.into()))
}

/// Run a job again
///
/// One that failed or was cancelled gets all its attempts once more and goes on where it was. Its type needs what it needs
/// to be submitted. Under an `Idempotency-Key` the same request does so once.
#[utoipa::path(post, path = "/jobs/{id}/retry", operation_id = "retry_job", tag = "jobs",
    params(("id" = String, Path, description = "The job"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters")),
    responses((status = 202, body = JobBody, headers(("Location")))),
    extensions(("x-permission" = json!(Permission::JobRetry.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::JobState, Code::JobDuplicate, Code::IdempotencyKeyReused])))))]
pub async fn retry(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathId(id): PathId<JobId>,
    IdempotencyHeader(key): IdempotencyHeader,
) -> Result<Response, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    let job = service::retry(&scope, &mut tx, id, key.as_deref()).await?;
    tx.commit().await?;
    Ok(accepted(job))
}

/// Watch a job
///
/// Events `state` and `log`, numbered from 1 within the job, and `progress`. The stream ends when the job has ended, and
/// after a minute at the latest; `Last-Event-ID` takes it up where another one ended.
#[utoipa::path(get, path = "/jobs/{id}/events", operation_id = "watch_job", tag = "jobs",
    params(("id" = String, Path, description = "The job"),
        ("Last-Event-ID" = Option<String>, Header, description = "The number of the last event seen")),
    responses((status = 200, content((String = "text/event-stream",
        example = json!("id: 2\nevent: state\ndata: {\"state\":\"running\",\"attempt\":1,\"at\":\"2026-11-20T12:00:00Z\"}\n\n"))))),
    extensions(("x-permission" = json!(Permission::JobRead.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn watch(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathId(id): PathId<JobId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut tx = state.db().tenant(scope.tenant.id).await?;
    service::get(&scope, &mut tx, id).await?;
    tx.commit().await?;
    let last = headers.get("last-event-id").map(HeaderValue::to_str);
    let after = last.and_then(Result::ok).map_or(0, service::parse_event_id);
    Ok(events::stream(state, scope, id, after))
}
