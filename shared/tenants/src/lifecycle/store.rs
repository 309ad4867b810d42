//! The state in rows of `control.tenants`.

use std::time::Duration;

use bulkhead_kernel::ids::{IdentityId, TenantId};
use bulkhead_tenancy::{ControlTx, DbError};

use super::{State, Suspension};

/// A tenant's state, kept from changing until the transaction ends.
pub(crate) async fn lock(tx: &mut ControlTx, tenant: TenantId) -> Result<Option<State>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT status, suspension, former_suspension, purge_started_at IS NOT NULL AS "is_final!"
        FROM control.tenants
        WHERE id = $1
            FOR NO KEY UPDATE
        "#,
        tenant.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| {
        let suspension = |text: Option<String>| text.as_deref().and_then(Suspension::parse);
        match row.status.as_str() {
            "active" => State::Active,
            "suspended" => State::Suspended(suspension(row.suspension).unwrap_or(Suspension::Full)),
            "deleting" => State::Deleting {
                former: suspension(row.former_suspension),
                is_final: row.is_final,
            },
            _ => State::Pending,
        }
    }))
}

/// Closes or opens the tenant.
pub(crate) async fn set_suspension(
    tx: &mut ControlTx,
    tenant: TenantId,
    suspension: Option<Suspension>,
    reason: Option<&str>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.tenants
        SET status       = CASE WHEN $2::text IS NULL THEN 'active' ELSE 'suspended' END,
            suspension   = $2,
            state_reason = $3,
            epoch        = epoch + 1,
            updated_at   = now()
        WHERE id = $1
        "#,
        tenant.uuid(),
        suspension.map(Suspension::as_str),
        reason,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Begins the grace and keeps what a restore brings back.
pub(crate) async fn set_deleting(
    tx: &mut ControlTx,
    tenant: TenantId,
    by: IdentityId,
    reason: &str,
    grace: Duration,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.tenants
        SET status            = 'deleting',
            suspension        = NULL,
            state_reason      = $3,
            former_status     = status,
            former_suspension = suspension,
            former_reason     = state_reason,
            delete_asked_at   = now(),
            delete_asked_by   = $2,
            purge_at          = now() + $4::bigint * interval '1 second',
            epoch             = epoch + 1,
            updated_at        = now()
        WHERE id = $1
        "#,
        tenant.uuid(),
        by.uuid(),
        reason,
        i64::try_from(grace.as_secs()).unwrap_or(i64::MAX),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Ends the grace; the tenant is as it was.
pub(crate) async fn set_restored(tx: &mut ControlTx, tenant: TenantId) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.tenants
        SET status            = coalesce(former_status, 'active'),
            suspension        = former_suspension,
            state_reason      = former_reason,
            former_status     = NULL,
            former_suspension = NULL,
            former_reason     = NULL,
            delete_asked_at   = NULL,
            delete_asked_by   = NULL,
            purge_at          = NULL,
            epoch             = epoch + 1,
            updated_at        = now()
        WHERE id = $1
        "#,
        tenant.uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// A tenant whose waiting jobs do not follow its state yet, with whether they are to be parked. It keeps its state until
/// the transaction ends.
pub(crate) async fn lock_settling(tx: &mut ControlTx) -> Result<Option<(TenantId, bool)>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT id, control.has_parked_jobs(status, frozen_by) AS "is_parked!"
        FROM control.tenants
        WHERE is_settling
        LIMIT 1
        FOR NO KEY UPDATE SKIP LOCKED
        "#,
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| (row.id.into(), row.is_parked)))
}

pub(crate) async fn set_settled(tx: &mut ControlTx, tenant: TenantId) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.tenants
        SET is_settling = false
        WHERE id = $1
        "#,
        tenant.uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
