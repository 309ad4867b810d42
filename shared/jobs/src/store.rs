//! The table `control.jobs`. Nothing here decides; the caller says what becomes of a row.

use std::time::Duration;

use bulkhead_kernel::{
    ids::{JobId, LeaseToken, TenantId},
    origin::Origin,
};
use bulkhead_tenancy::DbError;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    Job,
    outcome::{Attempt, Fate},
};

/// The most events of one job after which no more lines of its log are kept.
const MAX_EVENTS: i32 = 1_000;

/// A job on its way into the table.
pub(crate) struct NewJob<'a> {
    id: JobId,
    kind: &'static str,
    queue: &'static str,
    payload: Value,
    priority: i16,
    max_attempts: i16,
    delay: Duration,
    deadline: Option<Duration>,
    is_visible: bool,
    unique_key: Option<String>,
    origin: &'a Origin,
}

impl<'a> NewJob<'a> {
    pub(crate) fn of<J: Job>(origin: &'a Origin, job: &J) -> Result<Self, DbError> {
        let payload = serde_json::to_value(job).map_err(|error| sqlx::Error::Encode(error.into()))?;
        Ok(Self {
            id: JobId::new(),
            kind: J::KIND,
            queue: J::QUEUE.as_str(),
            payload,
            priority: J::PRIORITY,
            max_attempts: i16::try_from(J::MAX_ATTEMPTS.max(1)).unwrap_or(i16::MAX),
            delay: job.delay(),
            deadline: job.deadline(),
            is_visible: J::IS_VISIBLE,
            unique_key: job.unique_key(),
            origin,
        })
    }
}

/// A claimed job: everything an attempt needs to know.
#[derive(Debug)]
pub(crate) struct JobRow {
    pub(crate) id: JobId,
    pub(crate) kind: String,
    pub(crate) queue: String,
    pub(crate) wait_ms: f64,
    pub(crate) tenant: Option<TenantId>,
    pub(crate) is_tenant_known: bool,
    pub(crate) is_visible: bool,
    pub(crate) payload: Value,
    pub(crate) attempt: Attempt,
    pub(crate) origin: Origin,
}

/// A job whose lease ran out.
pub(crate) struct ExpiredRow {
    pub(crate) id: JobId,
    pub(crate) kind: String,
    pub(crate) attempt: Attempt,
    pub(crate) lost_leases: u16,
}

/// Inserts for the tenant whose role the transaction has taken.
pub(crate) async fn insert_own(conn: &mut PgConnection, new: &NewJob<'_>) -> Result<Option<JobId>, DbError> {
    let id = sqlx::query_scalar!(
        r#"
        SELECT control.enqueue_job($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) AS id
        "#,
        new.id.uuid(),
        new.kind,
        new.queue,
        new.payload,
        new.priority,
        new.max_attempts,
        millis(new.delay),
        new.deadline.map(millis),
        new.is_visible,
        new.unique_key,
        new.origin.principal,
        new.origin.request_id,
        new.origin.traceparent,
    )
    .fetch_one(conn)
    .await?;
    Ok(id.map(JobId::from))
}

/// Inserts for any tenant, or for the platform.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    tenant: Option<TenantId>,
    new: &NewJob<'_>,
) -> Result<Option<JobId>, DbError> {
    let id = sqlx::query_scalar!(
        r#"
        SELECT control.insert_job($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) AS id
        "#,
        tenant.map(TenantId::uuid),
        new.id.uuid(),
        new.kind,
        new.queue,
        new.payload,
        new.priority,
        new.max_attempts,
        millis(new.delay),
        new.deadline.map(millis),
        new.is_visible,
        new.unique_key,
        new.origin.principal,
        new.origin.request_id,
        new.origin.traceparent,
    )
    .fetch_one(conn)
    .await?;
    Ok(id.map(JobId::from))
}

/// Leases at most `limit` due jobs of these kinds, each under a fresh token, a tenant after the other in a circle that
/// goes on after `lane`.
pub(crate) async fn claim(
    conn: &mut PgConnection,
    kinds: &[String],
    worker: &str,
    lease: Duration,
    lane: Uuid,
    limit: i32,
) -> Result<Vec<JobRow>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT
            j.id AS "id!",
            j.kind AS "kind!",
            j.queue AS "queue!",
            j.wait_ms AS "wait_ms!",
            j.tenant_id,
            j.is_tenant_known AS "is_tenant_known!",
            j.payload AS "payload!",
            j.attempt AS "attempt!",
            j.max_attempts AS "max_attempts!",
            j.lease_token AS "lease_token!",
            j.is_visible AS "is_visible!",
            j.principal AS "principal!",
            j.request_id AS "request_id!",
            j.traceparent
        FROM control.claim_jobs($1, $2, $3, $4, $5) AS j
        "#,
        kinds,
        worker,
        millis(lease),
        lane,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let claimed = rows.into_iter().map(|row| JobRow {
        id: row.id.into(),
        kind: row.kind,
        queue: row.queue,
        wait_ms: row.wait_ms,
        tenant: row.tenant_id.map(TenantId::from),
        is_tenant_known: row.is_tenant_known,
        is_visible: row.is_visible,
        payload: row.payload,
        attempt: attempt(row.attempt, row.max_attempts, row.lease_token.into()),
        origin: Origin {
            principal: row.principal,
            request_id: row.request_id,
            traceparent: row.traceparent,
            address: None,
            agent: None,
        },
    });
    Ok(claimed.collect())
}

/// Ends the attempt that holds this token. `false`: the token no longer holds the job, and nothing was changed.
pub(crate) async fn settle(
    conn: &mut PgConnection,
    job: JobId,
    token: LeaseToken,
    fate: &Fate,
    is_lease_lost: bool,
) -> Result<bool, DbError> {
    let (state, delay, is_refunded, error) = match fate {
        Fate::Done => ("done", Duration::ZERO, false, None),
        Fate::Dead { error } => ("dead", Duration::ZERO, false, Some(error)),
        Fate::Queued {
            delay,
            is_refunded,
            error,
        } => ("queued", *delay, *is_refunded, error.as_ref()),
    };
    let settled = sqlx::query!(
        r#"
        UPDATE control.jobs
        SET state       = $3,
            attempt     = attempt - $4::boolean::int,
            lost_leases = lost_leases + $5::boolean::int,
            run_at      = CASE WHEN $3 = 'queued' THEN now() + $6::bigint * interval '1 millisecond' ELSE run_at END,
            is_due      = $3 <> 'queued' OR $6::bigint = 0,
            last_error  = coalesce($7, last_error),
            finished_at = CASE WHEN $3 <> 'queued' THEN now() END,
            lease_token = NULL,
            lease_until = NULL
        WHERE id = $1
          AND lease_token = $2
        "#,
        job.uuid(),
        token.uuid(),
        state,
        is_refunded,
        is_lease_lost,
        millis(delay),
        error,
    )
    .execute(conn)
    .await?;
    Ok(settled.rows_affected() == 1)
}

/// Parks or frees waiting jobs of the tenant, at most `limit`, and gives how many. A job that somebody is about to run is
/// passed over, and one that no worker knows stays parked.
pub(crate) async fn set_parked(
    conn: &mut PgConnection,
    tenant: TenantId,
    is_parked: bool,
    limit: i64,
) -> Result<u64, DbError> {
    let changed = sqlx::query!(
        r#"
        UPDATE control.jobs
        SET is_parked = $2
        WHERE id IN (SELECT id
                     FROM control.jobs
                     WHERE tenant_id = $1
                       AND state = 'queued'
                       AND is_parked <> $2
                       AND NOT is_unknown
                     LIMIT $3 FOR UPDATE SKIP LOCKED)
        "#,
        tenant.uuid(),
        is_parked,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(changed.rows_affected())
}

/// Wakes the workers when this transaction commits.
pub(crate) async fn notify(conn: &mut PgConnection) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        SELECT pg_notify('bulkhead_jobs', '')::text AS nothing
        "#,
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// Extends the leases that still hold and gives their tokens. A row that somebody has locked is left alone, since its
/// lock protects it: it counts as held.
pub(crate) async fn extend(
    conn: &mut PgConnection,
    held: &[(JobId, LeaseToken)],
    lease: Duration,
) -> Result<Vec<LeaseToken>, DbError> {
    let (jobs, tokens): (Vec<Uuid>, Vec<Uuid>) = held.iter().map(|(job, token)| (job.uuid(), token.uuid())).unzip();
    let tokens = sqlx::query_scalar!(
        r#"
        WITH held AS (
            SELECT id
            FROM control.jobs
            WHERE (id, lease_token) IN (SELECT id, token FROM unnest($1::uuid[], $2::uuid[]) AS mine (id, token))
            FOR UPDATE SKIP LOCKED
        ), extended AS (
            UPDATE control.jobs AS j
            SET lease_until = now() + $3::bigint * interval '1 millisecond'
            FROM held
            WHERE j.id = held.id
        )
        SELECT lease_token AS "token!"
        FROM control.jobs
        WHERE (id, lease_token) IN (SELECT id, token FROM unnest($1::uuid[], $2::uuid[]) AS mine (id, token))
        "#,
        &jobs,
        &tokens,
        millis(lease),
    )
    .fetch_all(conn)
    .await?;
    Ok(tokens.into_iter().map(LeaseToken::from).collect())
}

/// Locks jobs whose lease ran out, the longest overdue first. One whose effects are being committed right now is locked
/// by [`hold`] and not found.
pub(crate) async fn lock_expired(conn: &mut PgConnection, limit: i64) -> Result<Vec<ExpiredRow>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT id, kind, lease_token AS "lease_token!", attempt, max_attempts, lost_leases
        FROM control.jobs
        WHERE state = 'running'
          AND lease_until < now()
        ORDER BY lease_until
        LIMIT $1
        FOR UPDATE SKIP LOCKED
        "#,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let expired = rows.into_iter().map(|row| ExpiredRow {
        id: row.id.into(),
        kind: row.kind,
        attempt: attempt(row.attempt, row.max_attempts, row.lease_token.into()),
        lost_leases: count(row.lost_leases),
    });
    Ok(expired.collect())
}

/// Keeps the lease from being taken until the transaction ends; [`DbError::LeaseLost`] when it already was.
pub(crate) async fn hold(conn: &mut PgConnection, job: JobId, token: LeaseToken) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        SELECT control.hold_lease($1, $2)::text AS nothing
        "#,
        job.uuid(),
        token.uuid(),
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// Tells how far the attempt is; [`DbError::LeaseLost`] when it has the job no more.
pub(crate) async fn note_progress(
    conn: &mut PgConnection,
    job: JobId,
    token: LeaseToken,
    done: i64,
    total: Option<i64>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        SELECT control.note_progress($1, $2, $3, $4)::text AS nothing
        "#,
        job.uuid(),
        token.uuid(),
        done,
        total,
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// Adds a line to the job's log; [`DbError::LeaseLost`] when the attempt has the job no more.
pub(crate) async fn log(
    conn: &mut PgConnection,
    job: JobId,
    token: LeaseToken,
    level: &str,
    message: &str,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        SELECT control.log_job($1, $2, $3, $4, $5)::text AS nothing
        "#,
        job.uuid(),
        token.uuid(),
        level,
        message,
        MAX_EVENTS,
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// Keeps what the job came to; [`DbError::LeaseLost`] when the attempt has the job no more.
pub(crate) async fn set_result(
    conn: &mut PgConnection,
    job: JobId,
    token: LeaseToken,
    result: &Value,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        SELECT control.set_job_result($1, $2, $3)::text AS nothing
        "#,
        job.uuid(),
        token.uuid(),
        result,
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

fn attempt(number: i16, max: i16, token: LeaseToken) -> Attempt {
    Attempt {
        number: count(number),
        max: count(max),
        token,
    }
}

/// Counters in the table are never negative.
fn count(number: i16) -> u16 {
    u16::try_from(number).unwrap_or_default()
}

/// At most ten years: a longer wait is a mistake, and its end might be no time the database can write.
fn millis(duration: Duration) -> i64 {
    const MAX: i64 = 10 * 365 * 24 * 3_600 * 1_000;
    i64::try_from(duration.as_millis()).map_or(MAX, |millis| millis.min(MAX))
}
