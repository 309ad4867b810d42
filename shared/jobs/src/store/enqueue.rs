//! New rows.

use std::time::Duration;

use bulkhead_kernel::{
    ids::{JobId, TenantId},
    origin::Origin,
};
use bulkhead_tenancy::DbError;
use serde_json::Value;
use sqlx::PgConnection;

use super::millis;
use crate::Job;

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
