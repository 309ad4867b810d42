//! What can be done with the state of a tenant.

use std::time::Duration;

use bulkhead_audit::{Actor, Event};
use bulkhead_iam::{Iam, Person, ScopeError, members, permissions::Permission};
use bulkhead_kernel::{
    ids::{IdentityId, TenantId},
    origin::Origin,
    telemetry::fields,
};
use bulkhead_tenancy::{ControlTx, Db};
use serde_json::Value;

use super::{Change, Footprint, Reason, State, Suspension, store};
use crate::{Profile, TenantError, placement, profile};

/// Closes the tenant, or closes it otherwise than it was. For operators.
pub async fn suspend(
    origin: &Origin,
    db: &Db,
    tenant: TenantId,
    suspension: Suspension,
    reason: &Reason,
) -> Result<Profile, TenantError> {
    let mut tx = db.control().await?;
    let change = Change::Suspend(suspension);
    let states = next(&mut tx, tenant, change).await?;
    store::set_suspension(&mut tx, tenant, Some(suspension), Some(reason.as_str())).await?;
    record(origin, &mut tx, tenant, Actor::operator(origin), change, states, reason).await?;
    finish(origin, db, tx, tenant, change, reason).await
}

/// Opens a suspended tenant. For operators.
pub async fn resume(origin: &Origin, db: &Db, tenant: TenantId, reason: &Reason) -> Result<Profile, TenantError> {
    let mut tx = db.control().await?;
    let states = next(&mut tx, tenant, Change::Resume).await?;
    store::set_suspension(&mut tx, tenant, None, None).await?;
    record(
        origin,
        &mut tx,
        tenant,
        Actor::operator(origin),
        Change::Resume,
        states,
        reason,
    )
    .await?;
    finish(origin, db, tx, tenant, Change::Resume, reason).await
}

/// Takes a deletion back within its grace. For operators.
pub async fn restore(origin: &Origin, db: &Db, tenant: TenantId, reason: &Reason) -> Result<Profile, TenantError> {
    let mut tx = db.control().await?;
    let states = next(&mut tx, tenant, Change::Restore).await?;
    store::set_restored(&mut tx, tenant).await?;
    record(
        origin,
        &mut tx,
        tenant,
        Actor::operator(origin),
        Change::Restore,
        states,
        reason,
    )
    .await?;
    finish(origin, db, tx, tenant, Change::Restore, reason).await
}

/// Closes the tenant and begins the grace, after which it is purged. Asked again, the first grace goes on.
pub async fn delete(
    origin: &Origin,
    db: &Db,
    tenant: TenantId,
    (by, actor): (IdentityId, Actor),
    reason: &Reason,
    grace: Duration,
) -> Result<Profile, TenantError> {
    let mut tx = db.control().await?;
    let (before, after) = next(&mut tx, tenant, Change::Delete).await?;
    if before != after {
        store::set_deleting(&mut tx, tenant, by, reason.as_str(), grace).await?;
        record(origin, &mut tx, tenant, actor, Change::Delete, (before, after), reason).await?;
    }
    finish(origin, db, tx, tenant, Change::Delete, reason).await
}

/// Everything that the tenant holds and a purge would remove.
pub async fn footprint(db: &Db, tenant: TenantId) -> Result<Footprint, TenantError> {
    let mut tx = db.tenant_for_platform(tenant).await?;
    let (tables, bytes) = tx.measure().await?;
    tx.commit().await?;
    let mut tx = db.control().await?;
    let mut shared_tables = tx.measure_shared(tenant).await?;
    tx.commit().await?;
    let cluster = db.of(tenant).await?;
    if !cluster.cluster().is_home() {
        let mut there = cluster.control().await?;
        for (here, there) in shared_tables.iter_mut().zip(there.measure_shared(tenant).await?) {
            here.rows += there.rows;
        }
        there.commit().await?;
    }
    Ok(Footprint {
        tables,
        shared_tables,
        bytes,
    })
}

/// Refuses members who may not delete their tenant, or whom it is closed to. To strangers it does not exist.
pub async fn require_deletion(iam: &Iam, caller: &Person, tenant: TenantId) -> Result<(), TenantError> {
    let authority = members::service::authority_now(iam, tenant, caller.identity, caller.session).await;
    if authority
        .map_err(TenantError::Member)?
        .permissions
        .contains(Permission::TenantDelete)
    {
        Ok(())
    } else {
        Err(TenantError::Forbidden(ScopeError::Lacks(Permission::TenantDelete)))
    }
}

/// The states before and after the change; refused where it is not possible.
async fn next(tx: &mut ControlTx, tenant: TenantId, change: Change) -> Result<(State, State), TenantError> {
    let before = store::lock(tx, tenant).await?.ok_or(TenantError::NotFound)?;
    let after = before
        .after(change)
        .map_err(|refused| TenantError::State(refused.detail()))?;
    Ok((before, after))
}

/// Tells the tenant's own log; its members will see who closed it, and when.
async fn record(
    origin: &Origin,
    tx: &mut ControlTx,
    tenant: TenantId,
    actor: Actor,
    change: Change,
    (before, after): (State, State),
    reason: &Reason,
) -> Result<(), TenantError> {
    let event = Event::now(change.action(), actor, origin)
        .on("tenant", tenant)
        .change("status", before.status().as_str(), after.status().as_str())
        .change(
            "suspension",
            before.suspension().map(Suspension::as_str),
            after.suspension().map(Suspension::as_str),
        )
        .change("reason", Value::Null, reason.as_str());
    Ok(bulkhead_audit::record_for(tx, tenant, event).await?)
}

async fn finish(
    origin: &Origin,
    db: &Db,
    mut tx: ControlTx,
    tenant: TenantId,
    change: Change,
    reason: &Reason,
) -> Result<Profile, TenantError> {
    let profile = profile::store::get(&mut tx, tenant).await?;
    tx.commit().await?;
    placement::service::follow_soon(db, tenant).await;
    tracing::info!(
        { fields::TENANT_ID } = %tenant,
        { fields::PRINCIPAL_ID } = origin.principal,
        { fields::REQUEST_ID } = origin.request_id,
        reason = reason.as_str(),
        status = profile.tenant.status.as_str(),
        suspension = profile.suspension.map(Suspension::as_str),
        "{}",
        change.event(),
    );
    Ok(profile)
}
