//! What can be done with memberships.

use std::error::Error;

use bulkhead_kernel::{
    ids::{IdentityId, TenantId},
    telemetry::fields,
};
use bulkhead_tenancy::{ControlTx, Db, DbError, TenantSelector};

use super::{Membership, carrier, store};
use crate::permissions::SystemRole;

/// Lets the person choose the tenant from now on, in the transaction that makes it theirs.
pub async fn join(tx: &mut ControlTx, identity: IdentityId, tenant: TenantId, role: SystemRole) -> Result<(), DbError> {
    store::insert(tx, identity, tenant, role).await
}

pub(crate) async fn find(
    tx: &mut ControlTx,
    identity: IdentityId,
    selector: &TenantSelector,
) -> Result<Option<Membership>, DbError> {
    let (id, slug) = match selector {
        TenantSelector::Id(id) => (Some(*id), None),
        TenantSelector::Slug(slug) => (None, Some(slug.as_str())),
    };
    store::find(tx, identity, id, slug).await
}

/// The tenant the person means without saying so: the only one they can enter.
pub(crate) async fn find_only(tx: &mut ControlTx, identity: IdentityId) -> Result<Option<TenantId>, DbError> {
    match store::list_open(tx, identity, 2).await?[..] {
        [only] => Ok(Some(only)),
        _ => Ok(None),
    }
}

/// All tenants that the person belongs to, open or not.
pub(crate) async fn list_all(tx: &mut ControlTx, identity: IdentityId) -> Result<Vec<TenantId>, DbError> {
    store::list_all(tx, identity).await
}

/// Carries what the tenant has changed, for who waits to be let in. A failure is left to the sweep.
pub(crate) async fn carry_soon(db: &Db, tenant: TenantId) {
    if let Err(error) = carry_of(db, tenant).await {
        tracing::warn!(
            { fields::TENANT_ID } = %tenant,
            error = &error as &dyn Error,
            "the index of memberships does not follow yet"
        );
    }
}

async fn carry_of(db: &Db, tenant: TenantId) -> Result<(), DbError> {
    if !db.has_clusters() {
        return Ok(());
    }
    match db.resolve(&TenantSelector::Id(tenant)).await?.cluster {
        Some(cluster) => carrier::carry(&db.at(&cluster)?, Some(tenant)).await.map(drop),
        None => Ok(()),
    }
}
