//! What an attempt leaves behind, in the database. Everything is refused to whoever does not hold the lease:
//! [`DbError::LeaseLost`].

use bulkhead_kernel::ids::{JobId, LeaseToken};
use bulkhead_tenancy::DbError;
use serde_json::Value;
use sqlx::PgConnection;

use super::JobFile;

pub(super) async fn get_checkpoint(
    conn: &mut PgConnection,
    job: JobId,
    token: LeaseToken,
) -> Result<Option<Value>, DbError> {
    let checkpoint = sqlx::query_scalar!(
        r#"
        SELECT control.get_job_checkpoint($1, $2) AS checkpoint
        "#,
        job.uuid(),
        token.uuid(),
    )
    .fetch_one(conn)
    .await?;
    Ok(checkpoint)
}

pub(super) async fn set_checkpoint(
    conn: &mut PgConnection,
    job: JobId,
    token: LeaseToken,
    checkpoint: &Value,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        SELECT control.set_job_checkpoint($1, $2, $3)::text AS nothing
        "#,
        job.uuid(),
        token.uuid(),
        checkpoint,
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

pub(super) async fn set_file(
    conn: &mut PgConnection,
    job: JobId,
    token: LeaseToken,
    file: &JobFile,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        SELECT control.set_job_file($1, $2, $3, $4, $5)::text AS nothing
        "#,
        job.uuid(),
        token.uuid(),
        file.name,
        file.media_type,
        file.content,
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

pub(super) async fn note_error(
    conn: &mut PgConnection,
    job: JobId,
    token: LeaseToken,
    code: &str,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        SELECT control.note_job_error($1, $2, $3)::text AS nothing
        "#,
        job.uuid(),
        token.uuid(),
        code,
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}
