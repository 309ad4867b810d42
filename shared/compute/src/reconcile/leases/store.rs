//! Leases in the database.

use std::time::Duration;

use bulkhead_kernel::ids::{TenantId, VmId};
use bulkhead_tenancy::{ControlTx, DbError};

use crate::reconcile::model::{Lease, Settings};

/// Leases what is due, the longest waiting first; at most `limit`.
pub(in crate::reconcile) async fn claim(
    tx: &mut ControlTx,
    settings: &Settings,
    limit: i64,
) -> Result<Vec<Lease>, DbError> {
    let rows = sqlx::query!(
        r#"
        UPDATE control.vm_work AS w
        SET lease_owner = $1,
            lease_epoch = w.lease_epoch + 1,
            lease_until = now() + $2::bigint * interval '1 millisecond',
            due_at      = now() + $2::bigint * interval '1 millisecond'
        FROM (SELECT vm_id
              FROM control.vm_work
              WHERE due_at <= now()
                AND NOT is_parked
                AND (lease_until IS NULL OR lease_until <= now())
              ORDER BY due_at
              LIMIT $3 FOR UPDATE SKIP LOCKED) AS due
        WHERE w.vm_id = due.vm_id
        RETURNING w.vm_id, w.tenant_id, w.lease_epoch, w.failures
        "#,
        settings.worker,
        millis(settings.lease),
        limit,
    )
    .fetch_all(tx.conn())
    .await?;
    let leases = rows.into_iter().map(|row| Lease {
        vm: row.vm_id.into(),
        tenant: row.tenant_id.into(),
        epoch: row.lease_epoch,
        failures: row.failures,
    });
    Ok(leases.collect())
}

/// Leases this VM of this tenant if it is due and free.
pub(in crate::reconcile) async fn claim_one(
    tx: &mut ControlTx,
    settings: &Settings,
    tenant: TenantId,
    vm: VmId,
) -> Result<Option<Lease>, DbError> {
    let row = sqlx::query!(
        r#"
        UPDATE control.vm_work AS w
        SET lease_owner = $1,
            lease_epoch = w.lease_epoch + 1,
            lease_until = now() + $2::bigint * interval '1 millisecond',
            due_at      = now() + $2::bigint * interval '1 millisecond'
        FROM (SELECT vm_id
              FROM control.vm_work
              WHERE vm_id = $3
                AND tenant_id = $4
                AND due_at <= now()
                AND NOT is_parked
                AND (lease_until IS NULL OR lease_until <= now())
                  FOR UPDATE SKIP LOCKED) AS due
        WHERE w.vm_id = due.vm_id
        RETURNING w.lease_epoch, w.failures
        "#,
        settings.worker,
        millis(settings.lease),
        vm.uuid(),
        tenant.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| Lease {
        vm,
        tenant,
        epoch: row.lease_epoch,
        failures: row.failures,
    }))
}

/// Gives the lease back. The VM is due again after `rest`, never for `None`, and at once if something changed meanwhile.
pub(in crate::reconcile) async fn release(
    tx: &mut ControlTx,
    lease: &Lease,
    rest: Option<Duration>,
    failures: i32,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.vm_work
        SET lease_owner = NULL,
            lease_until = NULL,
            due_at      = CASE
                              WHEN due_at = lease_until THEN now() + $3::bigint * interval '1 millisecond'
                              ELSE due_at
                END,
            failures    = $4
        WHERE vm_id = $1
          AND lease_epoch = $2
          AND lease_until IS NOT NULL
        "#,
        lease.vm.uuid(),
        lease.epoch,
        rest.map(millis),
        failures,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// How long until the next VM is due that nobody holds; `None` when there is none.
pub(in crate::reconcile) async fn find_next_due(tx: &mut ControlTx) -> Result<Option<Duration>, DbError> {
    let left = sqlx::query_scalar!(
        r#"
        SELECT (extract(EPOCH FROM min(due_at) - now()) * 1000)::bigint AS left_ms
        FROM control.vm_work
        WHERE due_at IS NOT NULL
          AND NOT is_parked
          AND (lease_until IS NULL OR due_at = lease_until)
        "#,
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(left.map(|left| Duration::from_millis(u64::try_from(left).unwrap_or_default())))
}

/// As a parameter of a statement.
pub(in crate::reconcile) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
