//! What can be done with support access: by operators, and by the tenants that are looked into.

use bulkhead_audit::{Actor, Event};
use bulkhead_kernel::{
    ids::{IdentityId, SessionId, SupportAccessId, TenantId},
    origin::Origin,
    page::{Page, PageRequest},
};
use bulkhead_tenancy::{ControlTx, Db, DbError, TenantSelector};
use chrono::{DateTime, Utc};
use serde_json::Value;
use tracing::instrument;

use super::{LiveAccess, SupportAccess, SupportError, Wanted, store};
use crate::{Iam, Scope, operators, permissions::Permission};

/// Gives an active operator a way into the tenant. The tenant's log and the platform's say so.
#[instrument(skip_all)]
pub async fn grant(
    origin: &Origin,
    iam: &Iam,
    operator: IdentityId,
    tenant: TenantId,
    wanted: &Wanted,
) -> Result<SupportAccess, SupportError> {
    iam.db.resolve(&TenantSelector::Id(tenant)).await?;
    let mut tx = iam.db.control().await?;
    if !operators::lock_active_one(&mut tx, operator).await? {
        return Err(SupportError::NotAnOperator);
    }
    let now = iam.clock.now();
    let inserted = store::insert(&mut tx, tenant, operator, wanted, now).await;
    let id = inserted.map_err(|error| match error.constraint() {
        Some("support_access_tenant_fkey") => DbError::TenantNotFound,
        _ => error,
    })?;
    let event = Event::now("support_access.grant", Actor::operator(origin), origin)
        .on("support_access", id)
        .on("operator", operator)
        .change("reason", Value::Null, wanted.reason.as_str())
        .change("can_write", Value::Null, wanted.can_write)
        .change("expires_at", Value::Null, (now + wanted.lifetime).to_rfc3339());
    bulkhead_audit::record_for(&mut tx, tenant, event).await?;
    let given = store::lock(&mut tx, tenant, id).await?;
    tx.commit().await?;
    given.ok_or(SupportError::NotFound)
}

/// One page of the ways into a tenant, the newest first. For operators.
#[instrument(skip_all)]
pub async fn list(iam: &Iam, tenant: TenantId, page: PageRequest) -> Result<Page<SupportAccess>, SupportError> {
    iam.db.resolve(&TenantSelector::Id(tenant)).await?;
    read(&iam.db, tenant, page).await
}

/// The same for the tenant itself.
#[instrument(skip_all)]
pub async fn list_own(scope: &Scope, iam: &Iam, page: PageRequest) -> Result<Page<SupportAccess>, SupportError> {
    scope.require(Permission::AuditRead)?;
    read(&iam.db, scope.tenant.id, page).await
}

async fn read(db: &Db, tenant: TenantId, page: PageRequest) -> Result<Page<SupportAccess>, SupportError> {
    let mut tx = db.control().await?;
    let found = store::list(&mut tx, tenant, page).await?;
    tx.commit().await?;
    Ok(found)
}

/// Ends a way into a tenant, whoever has it. For operators. One that is over stays as it is.
#[instrument(skip_all)]
pub async fn end(origin: &Origin, iam: &Iam, tenant: TenantId, id: SupportAccessId) -> Result<(), SupportError> {
    let event = Event::now("support_access.end", Actor::operator(origin), origin);
    end_by(iam, tenant, id, &origin.principal, event).await
}

/// The same for the tenant itself: it turns somebody out.
#[instrument(skip_all)]
pub async fn end_own(scope: &Scope, iam: &Iam, id: SupportAccessId) -> Result<(), SupportError> {
    scope.require(Permission::SupportAccessEnd)?;
    let (by, event) = (scope.principal.id(), scope.event("support_access.end"));
    end_by(iam, scope.tenant.id, id, &by, event).await
}

async fn end_by(iam: &Iam, tenant: TenantId, id: SupportAccessId, by: &str, event: Event) -> Result<(), SupportError> {
    let now = iam.clock.now();
    let mut tx = iam.db.control().await?;
    let found = store::lock(&mut tx, tenant, id).await?.ok_or(SupportError::NotFound)?;
    if found.is_live(now) {
        finish(&mut tx, (tenant, id), by, event, now).await?;
    }
    Ok(tx.commit().await?)
}

/// Ends everything that an operator has of tenants, because the operator is deactivated.
pub(crate) async fn end_all(
    origin: &Origin,
    tx: &mut ControlTx,
    operator: IdentityId,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    for (tenant, id) in store::list_live(tx, operator, now).await? {
        let event = Event::now("support_access.end", Actor::operator(origin), origin);
        finish(tx, (tenant, id), &origin.principal, event, now).await?;
    }
    Ok(())
}

async fn finish(
    tx: &mut ControlTx,
    (tenant, id): (TenantId, SupportAccessId),
    by: &str,
    event: Event,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    store::set_ended(tx, id, by, now).await?;
    let event = event
        .on("support_access", id)
        .change("ended_at", Value::Null, now.to_rfc3339());
    bulkhead_audit::record_for(tx, tenant, event).await
}

/// Whether an access that somebody used earlier still lets its operator in, and then whether it lets them write.
pub(crate) async fn find_can_write(
    db: &Db,
    tenant: TenantId,
    id: SupportAccessId,
    now: DateTime<Utc>,
) -> Result<Option<bool>, DbError> {
    let mut tx = db.home().control().await?;
    let found = store::find_can_write(&mut tx, tenant, id, now).await?;
    tx.commit().await?;
    Ok(found)
}

/// What lets the holder of a session into a tenant in this very moment, member or not.
#[instrument(skip_all)]
pub async fn find_live(
    iam: &Iam,
    tenant: TenantId,
    operator: IdentityId,
    session: SessionId,
) -> Result<Option<LiveAccess>, DbError> {
    let mut tx = iam.db.control().await?;
    let found = store::find_live(&mut tx, tenant, (operator, session), iam.clock.now()).await?;
    tx.commit().await?;
    Ok(found)
}
