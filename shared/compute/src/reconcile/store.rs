//! What a pass reads and writes in the tenant, under the lock of the VM's row.

use std::time::Duration;

use bulkhead_kernel::ids::{SegmentId, VmId};
use bulkhead_tenancy::{DbError, TenantTx};
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    leases::millis,
    model::{Lease, PassError, Subject},
};
use crate::{
    driver::Plan,
    operations::{self, State},
    vms::{Desired, Phase, Size, Status, VmError, VmFault},
};

/// Locks the VM's row and makes sure of the lease, which runs anew. Every other statement of a pass comes after it.
pub(super) async fn lock(tx: &mut TenantTx, lease: &Lease, length: Duration) -> Result<bool, DbError> {
    let found = sqlx::query!(
        r#"
        SELECT id
        FROM vms
        WHERE id = $1
            FOR UPDATE
        "#,
        lease.vm.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    sqlx::query!(
        r#"
        SELECT control.hold_vm_lease($1, $2, $3) AS held
        "#,
        lease.vm.uuid(),
        lease.epoch,
        millis(length),
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(found.is_some())
}

/// The VM with its operations and steps.
pub(super) async fn get(tx: &mut TenantTx, vm: VmId) -> Result<Subject, VmError> {
    let row = sqlx::query!(
        r#"
        SELECT name, phase, last_stable, desired, cpu, memory_gb, disk_gb, template_id, incarnation, provider, plan,
               provider_ref, ip_address, observed, version
        FROM vms
        WHERE id = $1
        "#,
        vm.uuid(),
    )
    .fetch_one(tx.conn())
    .await?;
    let live = operations::store::list_live(tx, vm).await?;
    let (running, pending): (Vec<_>, Vec<_>) = live.into_iter().partition(|one| one.state == State::Running);
    let running = running.into_iter().next();
    let desired: Desired = row.desired.parse()?;
    let steps = match &running {
        Some(operation) => operations::store::list_steps(tx, operation.id).await?,
        None => Vec::new(),
    };
    let leftover = match desired {
        Desired::Deleted => operations::store::find_leftover_task(tx, vm).await?,
        _ => None,
    };
    Ok(Subject {
        vm,
        name: row.name,
        phase: row.phase.parse()?,
        last_stable: row.last_stable.parse()?,
        desired,
        size: Size {
            cpu: row.cpu,
            memory_gb: row.memory_gb,
            disk_gb: row.disk_gb,
        },
        template: row.template_id.map(Into::into),
        incarnation: row.incarnation,
        provider: row.provider,
        plan: row.plan.map(serde_json::from_value::<Plan>).transpose()?,
        provider_ref: row.provider_ref,
        ip_address: row.ip_address,
        observed: row.observed,
        version: row.version,
        running,
        pending: pending.into_iter().next(),
        steps,
        leftover,
    })
}

/// Moves the VM from the phase it was read in to another, or nothing if it is no longer as it was read.
pub(super) async fn set_phase(
    tx: &mut TenantTx,
    subject: &mut Subject,
    to: Phase,
    fault: Option<(VmFault, &Value)>,
    now: DateTime<Utc>,
) -> Result<(), PassError> {
    let last_stable = Status::of(to, subject.last_stable);
    let done = sqlx::query!(
        r#"
        UPDATE vms
        SET phase       = $4,
            last_stable = $5,
            fault       = $6,
            last_error  = coalesce($7, CASE WHEN $4 IN ('RUNNING', 'STOPPED') THEN NULL ELSE last_error END),
            deleted_at  = CASE WHEN $4 = 'DELETED' THEN $8::timestamptz END,
            version     = version + 1,
            updated_at  = $8
        WHERE id = $1
          AND phase = $2
          AND version = $3
        "#,
        subject.vm.uuid(),
        subject.phase.as_str(),
        subject.version,
        to.as_str(),
        last_stable.as_str(),
        fault.map(|(fault, _)| fault.as_str()),
        fault.map(|(_, error)| error),
        now,
    )
    .execute(tx.conn())
    .await?;
    if done.rows_affected() != 1 {
        return Err(PassError::Moved);
    }
    subject.phase = to;
    subject.last_stable = last_stable;
    subject.version += 1;
    Ok(())
}

/// Keeps the error of an operation that failed although the VM is where it can be used.
pub(super) async fn set_last_error(tx: &mut TenantTx, vm: VmId, error: &Value) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE vms
        SET last_error = $2
        WHERE id = $1
        "#,
        vm.uuid(),
        error,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Stores the plan, once for this incarnation, and tells the work row whose provider it is.
pub(super) async fn set_plan(tx: &mut TenantTx, lease: &Lease, provider: &str, plan: &Value) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE vms
        SET provider = $2,
            plan     = $3
        WHERE id = $1
          AND plan IS NULL
        "#,
        lease.vm.uuid(),
        provider,
        plan,
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        r#"
        SELECT control.place_vm_work($1, $2, $3) AS placed
        "#,
        lease.vm.uuid(),
        lease.epoch,
        provider,
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(())
}

/// Stores the provider's handle of the machine.
pub(super) async fn set_provider_ref(tx: &mut TenantTx, vm: VmId, reference: &str) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE vms
        SET provider_ref = $2
        WHERE id = $1
        "#,
        vm.uuid(),
        reference,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Stores what was seen; a changed address is a visible change.
pub(super) async fn set_observed(
    tx: &mut TenantTx,
    vm: VmId,
    observed: &Value,
    ip_address: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE vms
        SET observed   = $2,
            ip_address = $3,
            version    = CASE WHEN ip_address IS DISTINCT FROM $3 THEN version + 1 ELSE version END,
            updated_at = CASE WHEN ip_address IS DISTINCT FROM $3 THEN $4 ELSE updated_at END
        WHERE id = $1
        "#,
        vm.uuid(),
        observed,
        ip_address,
        now,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Something else is wanted from now on, because the VM is where it is.
pub(super) async fn set_desired(tx: &mut TenantTx, vm: VmId, desired: Desired) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE vms
        SET desired     = $2,
            desired_gen = desired_gen + 1,
            applied_gen = desired_gen + 1
        WHERE id = $1
          AND desired <> $2
        "#,
        vm.uuid(),
        desired.as_str(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The desired state of this generation is reached.
pub(super) async fn set_applied(tx: &mut TenantTx, vm: VmId, generation: i64) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE vms
        SET applied_gen = greatest(applied_gen, $2)
        WHERE id = $1
        "#,
        vm.uuid(),
        generation,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Opens an interval of billable use unless one is open.
pub(super) async fn open_segment(
    tx: &mut TenantTx,
    vm: VmId,
    meter: &str,
    quantity: i32,
    at: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO vm_usage_segments (id, vm_id, meter, quantity, started_at)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (vm_id, meter) WHERE ended_at IS NULL DO NOTHING
        "#,
        SegmentId::new().uuid(),
        vm.uuid(),
        meter,
        quantity,
        at,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Closes every open interval.
pub(super) async fn close_segments(tx: &mut TenantTx, vm: VmId, at: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE vm_usage_segments
        SET ended_at = greatest(started_at, $2)
        WHERE vm_id = $1
          AND ended_at IS NULL
        "#,
        vm.uuid(),
        at,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The VM holds nothing of the quota any more.
pub(super) async fn delete_allocation(tx: &mut TenantTx, vm: VmId) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        DELETE
        FROM vm_allocations
        WHERE vm_id = $1
        "#,
        vm.uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
