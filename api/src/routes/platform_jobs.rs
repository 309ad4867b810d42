//! `/platform/jobs`, `/platform/queues`: jobs of all tenants and of the platform, for those who run it.

use axum::extract::State;
use bulkhead_kernel::{
    fault::{Code, Violation},
    ids::{JobId, TenantId},
};
use bulkhead_tasks::{
    State as Stage,
    platform::{AnyFilter, AnyJob, Bulk, KindDepth, Overview, TenantDepth, WorkerSeen, service},
};
use bulkhead_tenancy::{Cluster, Db};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::cursor::{PartBody, PartQuery};
use crate::{
    extract::{Json, Operator, PathId, Query},
    openapi::{OPERATOR, codes},
    problem::Problem,
    state::AppState,
};

/// In which cluster; each has jobs of its own.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ClusterQuery {
    /// The cluster's name
    #[param(default = "home")]
    cluster: Option<String>,
}

impl ClusterQuery {
    fn db(&self, state: &AppState) -> Result<Db, Problem> {
        let Some(name) = self.cluster.as_deref() else {
            return Ok(state.db().clone());
        };
        let unknown = |_| Problem::invalid(vec![Violation::new("cluster", "is none that this server knows")]);
        state.db().at(&Cluster::from(name)).map_err(unknown)
    }
}

/// Which jobs.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AnyJobQuery {
    /// Of this tenant alone
    tenant_id: Option<String>,
    /// Of this type alone
    #[serde(rename = "type")]
    #[param(rename = "type")]
    kind: Option<String>,
    /// `queued`, `scheduled`, `parked`, `running`, `done`, `failed` or `cancelled`
    state: Option<String>,
    /// `default`, `provision` or `maintenance`
    queue: Option<String>,
}

impl AnyJobQuery {
    fn filter(self, part: &PartQuery) -> Result<(u32, AnyFilter), Problem> {
        let mut violations = Vec::new();
        let (limit, after) = part.read(&mut violations);
        let state = self.state.as_deref().map(Stage::parse).transpose();
        let state = state.unwrap_or_else(|violation| {
            violations.push(violation);
            None
        });
        let tenant = self.tenant_id.as_deref().map(str::parse::<TenantId>).transpose();
        let tenant = tenant.unwrap_or_else(|_| {
            violations.push(Violation::new("tenant_id", "is no id of a tenant"));
            None
        });
        if self.queue.as_deref().is_some_and(|queue| !QUEUES.contains(&queue)) {
            violations.push(Violation::new("queue", format!("must be one of {}", QUEUES.join(", "))));
        }
        if !violations.is_empty() {
            return Err(Problem::invalid(violations));
        }
        let filter = AnyFilter {
            tenant,
            kind: self.kind,
            state,
            queue: self.queue,
            after,
        };
        Ok((limit, filter))
    }
}

/// The sorts of work.
const QUEUES: [&str; 3] = ["default", "provision", "maintenance"];

/// A job as operators see it.
#[derive(Serialize, ToSchema)]
#[schema(as = PlatformJob, example = json!({"id": "job_0190a1b2c3d4e5f60718293a4b5c6d7e", "type": "mail.send", "queue": "default",
    "tenant_id": null, "state": "failed", "is_visible": false, "attempt": 30, "max_attempts": 30, "lost_leases": 0,
    "last_error": "the relay does not answer", "worker": "worker-1", "principal": "system", "request_id": "4f1c",
    "created_at": "2026-11-20T12:00:00Z", "run_at": "2026-11-20T12:00:00Z", "started_at": "2026-11-20T13:59:00Z",
    "finished_at": "2026-11-20T14:00:00Z", "payload": {"to": "usr_0190a1b2c3d4e5f60718293a4b5c6d7e", "template": "…"}}))]
pub struct AnyJobBody {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    queue: String,
    /// Null for the platform's own.
    tenant_id: Option<String>,
    state: &'static str,
    /// Whether its tenant sees it.
    is_visible: bool,
    attempt: i16,
    max_attempts: i16,
    /// How often its worker died over it; the third time it is given up.
    lost_leases: i16,
    last_error: Option<String>,
    /// The last worker that claimed it.
    worker: Option<String>,
    /// Who caused it.
    principal: String,
    request_id: String,
    created_at: DateTime<Utc>,
    run_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    /// What it works on, without texts and long lists; of one job alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    payload: Option<Value>,
}

impl From<AnyJob> for AnyJobBody {
    fn from(job: AnyJob) -> Self {
        Self {
            id: job.id.to_string(),
            kind: job.kind,
            queue: job.queue,
            tenant_id: job.tenant.map(|tenant| tenant.to_string()),
            state: job.state.as_str(),
            is_visible: job.is_visible,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            lost_leases: job.lost_leases,
            last_error: job.last_error,
            worker: job.worker,
            principal: job.principal,
            request_id: job.request_id,
            created_at: job.created_at,
            run_at: job.run_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
            payload: job.payload,
        }
    }
}

/// List the jobs of all tenants
///
/// The newest first; read on with `cursor`. `state=failed` are the dead letters.
#[utoipa::path(get, path = "/jobs", operation_id = "list_platform_jobs", tag = "platform",
    params(PartQuery, AnyJobQuery, ClusterQuery), responses((status = 200, body = PartBody<AnyJobBody>)),
    extensions(("x-permission" = json!(OPERATOR))))]
pub async fn list(
    State(state): State<AppState>,
    _: Operator,
    Query(part): Query<PartQuery>,
    Query(query): Query<AnyJobQuery>,
    Query(cluster): Query<ClusterQuery>,
) -> Result<Json<PartBody<AnyJobBody>>, Problem> {
    let (limit, filter) = query.filter(&part)?;
    let jobs = service::list(&cluster.db(&state)?, &filter, limit).await?;
    let last = jobs.last().map(|job| job.id);
    let items = jobs.into_iter().map(AnyJobBody::from).collect();
    Ok(Json(PartBody::new(items, limit, last)))
}

/// Show a job of whatever tenant
#[utoipa::path(get, path = "/jobs/{id}", operation_id = "get_platform_job", tag = "platform",
    params(("id" = String, Path, description = "The job"), ClusterQuery), responses((status = 200, body = AnyJobBody)),
    extensions(("x-permission" = json!(OPERATOR)), ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn get(
    State(state): State<AppState>,
    _: Operator,
    PathId(id): PathId<JobId>,
    Query(cluster): Query<ClusterQuery>,
) -> Result<Json<AnyJobBody>, Problem> {
    Ok(Json(service::get(&cluster.db(&state)?, id).await?.into()))
}

/// Cancel a job of whatever tenant
#[utoipa::path(post, path = "/jobs/{id}/cancel", operation_id = "cancel_platform_job", tag = "platform",
    params(("id" = String, Path, description = "The job"), ClusterQuery), responses((status = 200, body = AnyJobBody)),
    extensions(("x-permission" = json!(OPERATOR)), ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::JobState])))))]
pub async fn cancel(
    State(state): State<AppState>,
    Operator(caller): Operator,
    PathId(id): PathId<JobId>,
    Query(cluster): Query<ClusterQuery>,
) -> Result<Json<AnyJobBody>, Problem> {
    let job = service::cancel(&caller.origin, &cluster.db(&state)?, id).await?;
    Ok(Json(job.into()))
}

/// Run a job of whatever tenant again
#[utoipa::path(post, path = "/jobs/{id}/retry", operation_id = "retry_platform_job", tag = "platform",
    params(("id" = String, Path, description = "The job"), ClusterQuery), responses((status = 200, body = AnyJobBody)),
    extensions(("x-permission" = json!(OPERATOR)),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::JobState, Code::JobDuplicate])))))]
pub async fn retry(
    State(state): State<AppState>,
    Operator(caller): Operator,
    PathId(id): PathId<JobId>,
    Query(cluster): Query<ClusterQuery>,
) -> Result<Json<AnyJobBody>, Problem> {
    let job = service::retry(&caller.origin, &cluster.db(&state)?, id).await?;
    Ok(Json(job.into()))
}

/// Which dead jobs are to run again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"type": "mail.send"}))]
pub struct RetryJobs {
    /// Those of this type.
    #[serde(rename = "type")]
    kind: String,
    /// Those of this tenant alone.
    #[schema(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
}

/// What came of it.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"retried": 37, "skipped": 1, "left": 1}))]
pub struct RetriedJobs {
    /// They wait.
    retried: i64,
    /// A job that does the same waits or runs already.
    skipped: i64,
    /// Dead ones that are left; more than were skipped means another call.
    left: i64,
}

impl From<Bulk> for RetriedJobs {
    fn from(bulk: Bulk) -> Self {
        Self {
            retried: bulk.retried,
            skipped: bulk.skipped,
            left: bulk.left,
        }
    }
}

/// Run all dead jobs of a type again
///
/// Those that died first, at most 1,000 in a call.
#[utoipa::path(post, path = "/jobs/retry", operation_id = "retry_platform_jobs", tag = "platform",
    params(ClusterQuery), responses((status = 200, body = RetriedJobs)), extensions(("x-permission" = json!(OPERATOR))))]
pub async fn retry_dead(
    State(state): State<AppState>,
    Operator(caller): Operator,
    Query(cluster): Query<ClusterQuery>,
    Json(wanted): Json<RetryJobs>,
) -> Result<Json<RetriedJobs>, Problem> {
    let db = cluster.db(&state)?;
    let bulk = service::retry_dead(&caller.origin, &db, &wanted.kind, wanted.tenant_id).await?;
    Ok(Json(bulk.into()))
}

/// How many jobs of one type there are.
#[derive(Serialize, ToSchema)]
pub struct KindDepthBody {
    queue: String,
    #[serde(rename = "type")]
    kind: String,
    queued: i64,
    scheduled: i64,
    parked: i64,
    running: i64,
    failed: i64,
    /// How long the oldest that is due has waited, in seconds.
    oldest_wait_s: Option<f64>,
}

impl From<KindDepth> for KindDepthBody {
    fn from(depth: KindDepth) -> Self {
        Self {
            queue: depth.queue,
            kind: depth.kind,
            queued: depth.queued,
            scheduled: depth.scheduled,
            parked: depth.parked,
            running: depth.running,
            failed: depth.failed,
            oldest_wait_s: depth.oldest_wait,
        }
    }
}

/// How many jobs of one tenant there are.
#[derive(Serialize, ToSchema)]
pub struct TenantDepthBody {
    /// Null for the platform's own.
    tenant_id: Option<String>,
    /// Waiting, due or not.
    queued: i64,
    running: i64,
}

impl From<TenantDepth> for TenantDepthBody {
    fn from(depth: TenantDepth) -> Self {
        Self {
            tenant_id: depth.tenant.map(|tenant| tenant.to_string()),
            queued: depth.queued,
            running: depth.running,
        }
    }
}

/// A worker that lives, or was heard of within the last day and was not told to stop.
#[derive(Serialize, ToSchema)]
pub struct WorkerBody {
    name: String,
    version: String,
    /// How many jobs it runs at a time.
    concurrency: i32,
    running: i64,
    /// When it last gave a sign of life.
    last_seen_at: DateTime<Utc>,
}

impl From<WorkerSeen> for WorkerBody {
    fn from(worker: WorkerSeen) -> Self {
        Self {
            name: worker.name,
            version: worker.version,
            concurrency: worker.concurrency,
            running: worker.running,
            last_seen_at: worker.last_seen_at,
        }
    }
}

/// How the queues of a cluster stand.
#[derive(Serialize, ToSchema)]
#[schema(as = Queues, example = json!({"kinds": [{"queue": "default", "type": "mail.send", "queued": 3, "scheduled": 1,
    "parked": 0, "running": 2, "failed": 37, "oldest_wait_s": 0.4}], "tenants": [{"tenant_id": null, "queued": 3,
    "running": 2}], "workers": [{"name": "01a1ff3d-0bf5-73f4-b77d-1e8433277958", "version": "0.1.0", "concurrency": 8, "running": 2,
    "last_seen_at": "2026-11-20T12:00:15Z"}]}))]
pub struct QueuesBody {
    /// By queue and type.
    kinds: Vec<KindDepthBody>,
    /// The 20 with the most waiting jobs.
    tenants: Vec<TenantDepthBody>,
    /// Those that have jobs in this moment.
    workers: Vec<WorkerBody>,
}

impl From<Overview> for QueuesBody {
    fn from(overview: Overview) -> Self {
        Self {
            kinds: overview.kinds.into_iter().map(Into::into).collect(),
            tenants: overview.tenants.into_iter().map(Into::into).collect(),
            workers: overview.workers.into_iter().map(Into::into).collect(),
        }
    }
}

/// Show how the queues stand
///
/// Counts every waiting, running and dead job: with millions of them it takes seconds.
#[utoipa::path(get, path = "/queues", operation_id = "get_queues", tag = "platform",
    params(ClusterQuery), responses((status = 200, body = QueuesBody)), extensions(("x-permission" = json!(OPERATOR))))]
pub async fn queues(
    State(state): State<AppState>,
    _: Operator,
    Query(cluster): Query<ClusterQuery>,
) -> Result<Json<QueuesBody>, Problem> {
    Ok(Json(service::overview(&cluster.db(&state)?).await?.into()))
}
