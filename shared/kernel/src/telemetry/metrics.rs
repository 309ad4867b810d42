//! All metrics: name, labels and meaning. Labels take few values: no ids, no raw paths.
//!
//! A handle made before [`install`] stays deaf, so `install` comes first in `main`.

use std::{borrow::Cow, fmt, sync::OnceLock, thread, time::Duration};

use ::metrics::{Counter, Gauge, Histogram, Unit};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

const HTTP_DURATION: &str = "http_server_request_duration_seconds";
const HTTP_ACTIVE: &str = "http_server_active_requests";
const DB_IN_USE: &str = "db_pool_in_use";
const DB_WAITERS: &str = "db_pool_waiters";
const DB_ACQUIRE: &str = "db_acquire_seconds";
const DB_OPEN: &str = "db_connections";
const DB_TENANTS: &str = "db_connection_tenants";
const DB_TENANTS_MOST: &str = "db_connection_tenants_most";
const DB_MEMORY: &str = "db_connection_memory_bytes";
const DB_SHARD_WAITERS: &str = "db_shard_waiters";
const DB_RETIRED: &str = "db_connections_retired_total";
const PASSWORD: &str = "auth_password_seconds";
const AUTH_REFUSED: &str = "auth_refusals_total";
const CLUSTER_USED: &str = "bulkhead_cluster_used";
const CLUSTER_CAP: &str = "bulkhead_cluster_cap";
const CLUSTER_RATIO: &str = "bulkhead_cluster_used_ratio";
const REDIS_UP: &str = "redis_up";
const JOB_RUN: &str = "job_run_seconds";
const JOB_RETIRED: &str = "jobs_retired_runs_total";
const JOB_UNKNOWN: &str = "jobs_unknown";
const SCHEDULE_LATENESS: &str = "schedule_lateness_seconds";
const SCHEDULES_OVERDUE: &str = "schedules_overdue_seconds";
const SCHEDULES_PAUSED: &str = "schedules_paused";
const JOBS_RESCUED: &str = "jobs_rescued_total";
const JOBS_DEAD: &str = "jobs_dead_total";
const JOBS_DEPTH: &str = "jobs_depth";
const JOBS_OLDEST_WAIT: &str = "jobs_oldest_wait_seconds";

/// For what a caller waits for; in seconds.
const LATENCY: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// For work in the background; in seconds.
const WORK: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// Between two clean-ups: observations take memory until they are sorted into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

static INSTALLED: OnceLock<Metrics> = OnceLock::new();

/// The metrics of this process.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// All values in Prometheus' text format, as `/metrics` answers.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// Collects the metrics of this process from here on. Further calls give the same handle: there is one set per process.
#[must_use]
pub fn install() -> Metrics {
    INSTALLED
        .get_or_init(|| {
            let recorder = recorder().unwrap_or_else(|error| {
                tracing::error!(%error, "metrics go without buckets");
                PrometheusBuilder::new().build_recorder()
            });
            let metrics = Metrics(recorder.handle());
            if ::metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("something else takes the metrics of this process; /metrics stays empty");
            }
            describe();
            keep_up(metrics.clone());
            metrics
        })
        .clone()
}

fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), LATENCY)?
        .set_buckets_for_metric(Matcher::Full(JOB_RUN.into()), WORK)?
        .set_buckets_for_metric(Matcher::Full(SCHEDULE_LATENESS.into()), WORK)?;
    Ok(builder.build_recorder())
}

/// A thread of its own, so that it depends on no runtime; it ends with the process.
fn keep_up(metrics: Metrics) {
    let upkeep = move || {
        loop {
            thread::park_timeout(UPKEEP);
            metrics.0.run_upkeep();
        }
    };
    if let Err(error) = thread::Builder::new().name("metrics-upkeep".into()).spawn(upkeep) {
        tracing::warn!(%error, "metrics are cleaned up only when they are read");
    }
}

fn describe() {
    use ::metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_histogram!(
        HTTP_DURATION,
        Unit::Seconds,
        "From the head of a request to the end of its answer."
    );
    describe_gauge!(HTTP_ACTIVE, Unit::Count, "Requests under way.");
    describe_gauge!(DB_IN_USE, Unit::Count, "Connections to the database that are in use.");
    describe_gauge!(
        DB_WAITERS,
        Unit::Count,
        "Callers that wait for a connection to the database."
    );
    describe_histogram!(DB_ACQUIRE, Unit::Seconds, "Wait for a connection to the database.");
    describe_db_connections();
    describe_clusters();
    describe_histogram!(
        PASSWORD,
        Unit::Seconds,
        "Hashing or checking one password, the wait for a processor included."
    );
    describe_counter!(
        AUTH_REFUSED,
        Unit::Count,
        "Refusals that tell of an attack: guessing, mails, reuse of a refresh token."
    );
    describe_gauge!(
        REDIS_UP,
        Unit::Count,
        "1 while Redis answers, 0 while everything goes on without it."
    );
    describe_jobs();
}

fn describe_jobs() {
    use ::metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_histogram!(JOB_RUN, Unit::Seconds, "One attempt at a job.");
    describe_counter!(JOBS_RESCUED, Unit::Count, "Jobs whose lease ran out while they ran.");
    describe_counter!(JOBS_DEAD, Unit::Count, "Jobs that ended without success.");
    describe_gauge!(
        JOBS_DEPTH,
        Unit::Count,
        "Jobs in a state, up to 10000; all workers tell the same."
    );
    describe_gauge!(
        JOBS_OLDEST_WAIT,
        Unit::Seconds,
        "How long the job that has been due longest has been due."
    );
    describe_schedules();
}

fn describe_schedules() {
    use ::metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_counter!(
        JOB_RETIRED,
        Unit::Count,
        "Jobs of kinds that nothing enqueues any more; their handlers can go when this stays as it is."
    );
    describe_gauge!(
        JOB_UNKNOWN,
        Unit::Count,
        "Jobs that wait for a worker with a handler for their kind; told by the eldest worker."
    );
    describe_histogram!(
        SCHEDULE_LATENESS,
        Unit::Seconds,
        "From a tick of a schedule to its job."
    );
    describe_gauge!(
        SCHEDULES_OVERDUE,
        Unit::Seconds,
        "How late the tick is that no worker has taken up for the longest; 0 while all is well."
    );
    describe_gauge!(SCHEDULES_PAUSED, Unit::Count, "Schedules that an operator has paused.");
}

fn describe_db_connections() {
    use ::metrics::{describe_counter, describe_gauge};
    describe_gauge!(DB_OPEN, Unit::Count, "Open connections to the database.");
    describe_gauge!(
        DB_TENANTS,
        Unit::Count,
        "Tenants that the open connections have met, each connection by itself."
    );
    describe_gauge!(
        DB_TENANTS_MOST,
        Unit::Count,
        "Tenants that the most travelled open connection has met."
    );
    describe_gauge!(
        DB_MEMORY,
        Unit::Bytes,
        "Memory of the server processes behind the open connections, estimated from the tenants they have met."
    );
    describe_gauge!(
        DB_SHARD_WAITERS,
        Unit::Count,
        "Callers that wait for a connection of the shard."
    );
    describe_counter!(
        DB_RETIRED,
        Unit::Count,
        "Connections closed for the tenants they had met, for their age, or to make room for another shard."
    );
}

fn describe_clusters() {
    use ::metrics::describe_gauge;
    describe_gauge!(CLUSTER_USED, Unit::Count, "How much of a cluster is used.");
    describe_gauge!(CLUSTER_CAP, Unit::Count, "How much of a cluster may be used.");
    describe_gauge!(
        CLUSTER_RATIO,
        Unit::Count,
        "What part of the cap is used; from 0.8 on the cluster takes no new tenants."
    );
}

/// Duration of a request; `route` is the template of its path, and a constant for requests that match none.
pub fn http_request_duration(route: impl Into<Cow<'static, str>>, method: &str, status: u16) -> Histogram {
    let route: Cow<'static, str> = route.into();
    ::metrics::histogram!(
        HTTP_DURATION,
        "route" => route,
        "method" => method_label(method),
        "status" => status.to_string(),
    )
}

/// Requests under way.
pub fn http_active_requests() -> Gauge {
    ::metrics::gauge!(HTTP_ACTIVE)
}

/// Connections of `pool` in use.
pub fn db_pool_in_use(pool: &'static str) -> Gauge {
    ::metrics::gauge!(DB_IN_USE, "pool" => pool)
}

/// Callers that wait for a connection of `pool`.
pub fn db_pool_waiters(pool: &'static str) -> Gauge {
    ::metrics::gauge!(DB_WAITERS, "pool" => pool)
}

/// Wait for a connection of `pool`.
pub fn db_acquire(pool: &'static str) -> Histogram {
    ::metrics::histogram!(DB_ACQUIRE, "pool" => pool)
}

/// The shards that have a label of their own; the rest share one, so that labels stay few.
const LABELLED_SHARDS: i16 = 64;

fn shard_label(shard: i16) -> Cow<'static, str> {
    if shard < LABELLED_SHARDS {
        shard.to_string().into()
    } else {
        "more".into()
    }
}

/// Open connections of a shard of `pool`; a pool without shards has shard 0, here and below.
pub fn db_connections(pool: &'static str, shard: i16) -> Gauge {
    ::metrics::gauge!(DB_OPEN, "pool" => pool, "shard" => shard_label(shard))
}

/// Tenants that the open connections have met, each connection by itself.
pub fn db_connection_tenants(pool: &'static str, shard: i16) -> Gauge {
    ::metrics::gauge!(DB_TENANTS, "pool" => pool, "shard" => shard_label(shard))
}

/// Tenants that the most travelled open connection has met.
pub fn db_connection_tenants_most(pool: &'static str, shard: i16) -> Gauge {
    ::metrics::gauge!(DB_TENANTS_MOST, "pool" => pool, "shard" => shard_label(shard))
}

/// Estimated memory of the server processes behind the open connections.
pub fn db_connection_memory(pool: &'static str, shard: i16) -> Gauge {
    ::metrics::gauge!(DB_MEMORY, "pool" => pool, "shard" => shard_label(shard))
}

/// Callers that wait for a connection of a shard.
pub fn db_shard_waiters(pool: &'static str, shard: i16) -> Gauge {
    ::metrics::gauge!(DB_SHARD_WAITERS, "pool" => pool, "shard" => shard_label(shard))
}

/// Connections that were closed for `reason`: tenants, age or room.
pub fn db_connections_retired(pool: &'static str, shard: i16, reason: &'static str) -> Counter {
    ::metrics::counter!(DB_RETIRED, "pool" => pool, "shard" => shard_label(shard), "reason" => reason)
}

/// How much of `cap` is used in a cluster of the settings.
pub fn cluster_used(cluster: &str, cap: &'static str) -> Gauge {
    ::metrics::gauge!(CLUSTER_USED, "cluster" => cluster.to_owned(), "cap" => cap)
}

/// How much of it may be used.
pub fn cluster_cap(cluster: &str, cap: &'static str) -> Gauge {
    ::metrics::gauge!(CLUSTER_CAP, "cluster" => cluster.to_owned(), "cap" => cap)
}

/// The one by the other.
pub fn cluster_used_ratio(cluster: &str, cap: &'static str) -> Gauge {
    ::metrics::gauge!(CLUSTER_RATIO, "cluster" => cluster.to_owned(), "cap" => cap)
}

/// Hashing or checking one password, the wait for a processor included.
pub fn auth_password() -> Histogram {
    ::metrics::histogram!(PASSWORD)
}

/// Refusals that tell of an attack, by `reason`: guessing, mails, links, resends or reuse.
pub fn auth_refusals(reason: &'static str) -> Counter {
    ::metrics::counter!(AUTH_REFUSED, "reason" => reason)
}

/// 1 while Redis answers, 0 while everything goes on without it.
pub fn redis_up() -> Gauge {
    ::metrics::gauge!(REDIS_UP)
}

/// Duration of one attempt at a job of `kind` in `queue` that ended as `outcome`.
pub fn job_run(kind: &'static str, queue: &'static str, outcome: &'static str) -> Histogram {
    ::metrics::histogram!(JOB_RUN, "kind" => kind, "queue" => queue, "outcome" => outcome)
}

/// Jobs whose lease ran out while they ran.
pub fn jobs_rescued(kind: &'static str, queue: &'static str) -> Counter {
    ::metrics::counter!(JOBS_RESCUED, "kind" => kind, "queue" => queue)
}

/// Jobs that ended without success.
pub fn jobs_dead(kind: &'static str, queue: &'static str) -> Counter {
    ::metrics::counter!(JOBS_DEAD, "kind" => kind, "queue" => queue)
}

/// Jobs of a cluster in `state`: queued, delayed, parked, running or dead.
pub fn jobs_depth(cluster: &str, kind: &str, queue: &'static str, state: &'static str) -> Gauge {
    let (cluster, kind) = (cluster.to_owned(), kind.to_owned());
    ::metrics::gauge!(JOBS_DEPTH, "cluster" => cluster, "kind" => kind, "queue" => queue, "state" => state)
}

/// How long the job that has been due longest has been due.
pub fn jobs_oldest_wait(cluster: &str, kind: &str, queue: &'static str) -> Gauge {
    ::metrics::gauge!(JOBS_OLDEST_WAIT, "cluster" => cluster.to_owned(), "kind" => kind.to_owned(), "queue" => queue)
}

/// Runs of a `kind` that nothing enqueues any more.
pub fn jobs_retired_runs(kind: &'static str) -> Counter {
    ::metrics::counter!(JOB_RETIRED, "kind" => kind)
}

/// Jobs that wait in a cluster for a worker with a handler for their kind.
pub fn jobs_unknown(cluster: &str) -> Gauge {
    ::metrics::gauge!(JOB_UNKNOWN, "cluster" => cluster.to_owned())
}

/// From a tick of the schedule to its job; the code's list has few of them.
pub fn schedule_lateness(schedule: String) -> Histogram {
    ::metrics::histogram!(SCHEDULE_LATENESS, "schedule" => schedule)
}

/// How late the tick is that no worker of a cluster has taken up for the longest.
pub fn schedules_overdue(cluster: &str) -> Gauge {
    ::metrics::gauge!(SCHEDULES_OVERDUE, "cluster" => cluster.to_owned())
}

/// Schedules of a cluster that are paused.
pub fn schedules_paused(cluster: &str) -> Gauge {
    ::metrics::gauge!(SCHEDULES_PAUSED, "cluster" => cluster.to_owned())
}

/// Anybody can invent methods; the label knows only those of RFC 9110 and RFC 5789.
fn method_label(method: &str) -> &'static str {
    const KNOWN: &[&str] = &[
        "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT",
    ];
    KNOWN
        .iter()
        .find(|known| **known == method)
        .copied()
        .unwrap_or("_OTHER")
}
