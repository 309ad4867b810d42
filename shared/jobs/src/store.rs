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

/// A job on its way into the table.
pub(crate) struct NewJob<'a> {
    id: JobId,
    kind: &'static str,
    queue: &'static str,
    payload: Value,
    priority: i16,
    max_attempts: i16,
    delay: Duration,
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
        SELECT control.enqueue_job($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) AS id
        "#,
        new.id.uuid(),
        new.kind,
        new.queue,
        new.payload,
        new.priority,
        new.max_attempts,
        millis(new.delay),
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
        SELECT control.insert_job($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) AS id
        "#,
        tenant.map(TenantId::uuid),
        new.id.uuid(),
        new.kind,
        new.queue,
        new.payload,
        new.priority,
        new.max_attempts,
        millis(new.delay),
        new.unique_key,
        new.origin.principal,
        new.origin.request_id,
        new.origin.traceparent,
    )
    .fetch_one(conn)
    .await?;
    Ok(id.map(JobId::from))
}

/// Leases the first due job of these kinds under a fresh token.
pub(crate) async fn claim(
    conn: &mut PgConnection,
    kinds: &[String],
    worker: &str,
    lease: Duration,
) -> Result<Option<JobRow>, DbError> {
    let token = LeaseToken::new();
    let row = sqlx::query!(
        r#"
        WITH next AS (
            SELECT w.id
            FROM control.jobs AS w
            WHERE w.state = 'queued'
              AND NOT w.is_parked
              AND w.run_at <= now()
              AND w.kind = ANY ($1)
              -- Jobs of a tenant that was closed a moment ago, until they are parked.
              AND coalesce((SELECT NOT control.has_parked_jobs(t.status, t.frozen_by) FROM control.tenants AS t WHERE t.id = w.tenant_id), true)
            ORDER BY w.priority DESC, w.run_at
            LIMIT 1
            FOR UPDATE OF w SKIP LOCKED
        )
        UPDATE control.jobs AS j
        SET state       = 'running',
            attempt     = j.attempt + 1,
            lease_token = $2,
            lease_until = now() + $3::bigint * interval '1 millisecond',
            worker      = $4,
            started_at  = now()
        FROM next
        WHERE j.id = next.id
        RETURNING
            j.id,
            j.kind,
            j.queue,
            (extract(EPOCH FROM now() - j.run_at) * 1000)::float8 AS "wait_ms!",
            j.tenant_id,
            (j.tenant_id IS NULL OR EXISTS (SELECT FROM control.tenants AS t WHERE t.id = j.tenant_id))
                AS "is_tenant_known!",
            j.payload,
            j.attempt,
            j.max_attempts,
            j.principal,
            j.request_id,
            j.traceparent
        "#,
        kinds,
        token.uuid(),
        millis(lease),
        worker,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| JobRow {
        id: row.id.into(),
        kind: row.kind,
        queue: row.queue,
        wait_ms: row.wait_ms,
        tenant: row.tenant_id.map(TenantId::from),
        is_tenant_known: row.is_tenant_known,
        payload: row.payload,
        attempt: attempt(row.attempt, row.max_attempts, token),
        origin: Origin {
            principal: row.principal,
            request_id: row.request_id,
            traceparent: row.traceparent,
            address: None,
            agent: None,
        },
    }))
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
