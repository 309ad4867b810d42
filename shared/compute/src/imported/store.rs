//! Machines of an imported tenant in the database, all at once.

use bulkhead_tenancy::{DbError, OwnerTx};
use chrono::{DateTime, Utc};

/// The last event of every machine that is about to be parted.
pub(super) async fn insert_events(tx: &mut OwnerTx, at: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO vm_events (vm_id, seq, at, level, code, message, phase, principal, request_id)
        SELECT v.id,
               coalesce((SELECT max(e.seq) FROM vm_events AS e WHERE e.vm_id = v.id), 0) + 1,
               greatest($1, (SELECT max(e.at) FROM vm_events AS e WHERE e.vm_id = v.id)),
               'warning',
               'vm.not_imported',
               'The machine stayed with the tenant that this one was made from.',
               'DELETED',
               'system',
               'import'
        FROM vms AS v
        WHERE v.phase <> 'DELETED'
        "#,
        at,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Nothing is under way any more.
pub(super) async fn cancel_operations(tx: &mut OwnerTx, at: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE vm_operation_steps AS s
        SET state = 'failed', finished_at = greatest(s.started_at, $1)
        FROM vm_operations AS o
        WHERE o.id = s.operation_id
          AND o.state IN ('pending', 'running')
          AND s.finished_at IS NULL
        "#,
        at,
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        r#"
        UPDATE vm_operations
        SET state = 'cancelled', finished_at = greatest(created_at, $1)
        WHERE state IN ('pending', 'running')
        "#,
        at,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn close_segments(tx: &mut OwnerTx, at: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE vm_usage_segments
        SET ended_at = greatest(started_at, $1)
        WHERE ended_at IS NULL
        "#,
        at,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn delete_allocations(tx: &mut OwnerTx) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        DELETE
        FROM vm_allocations
        "#,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// By the way that the table of phases allows.
pub(super) async fn set_deleted(tx: &mut OwnerTx, at: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE vms
        SET phase = 'DELETING', fault = NULL
        WHERE phase NOT IN ('DELETING', 'DELETED')
        "#,
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        r#"
        UPDATE vms
        SET phase        = 'DELETED',
            desired      = 'deleted',
            desired_gen  = desired_gen + 1,
            applied_gen  = desired_gen + 1,
            observed     = '{}',
            conditions   = '[]',
            provider     = NULL,
            plan         = NULL,
            provider_ref = NULL,
            ip_address   = NULL,
            version      = version + 1,
            updated_at   = $1,
            deleted_at   = $1
        WHERE phase = 'DELETING'
        "#,
        at,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
