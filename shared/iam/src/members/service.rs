//! What can be done with members.

use std::{sync::Arc, time::Instant};

use bulkhead_kernel::{
    ids::{IdentityId, SessionId, TenantId},
    page::{Page, PageRequest},
};
use bulkhead_tenancy::{DbError, OwnerTx, TenantSelector, TenantTx};
use tracing::instrument;

use super::{Authority, Member, MemberError, model::Search, store};
use crate::{
    Iam, Scope, identities, memberships,
    permissions::{Permission, SystemRole},
};

/// What the person may do in the tenant, at most a second old.
#[instrument(skip_all)]
pub async fn authority(
    iam: &Iam,
    tenant: TenantId,
    identity: IdentityId,
    session: SessionId,
) -> Result<Arc<Authority>, MemberError> {
    let key = (tenant, identity, session);
    let ticket = match iam.authorities.get(&key, Instant::now()) {
        Ok(known) => return Ok(known),
        Err(ticket) => ticket,
    };
    let authority = Arc::new(authority_now(iam, tenant, identity, session).await?);
    iam.authorities.put(ticket, key, &authority);
    Ok(authority)
}

/// What the person may do in the tenant in this very moment.
#[instrument(skip_all)]
pub async fn authority_now(
    iam: &Iam,
    tenant: TenantId,
    identity: IdentityId,
    session: SessionId,
) -> Result<Authority, MemberError> {
    let (authority, is_session_live) =
        match store::find_authority(&iam.db, tenant, identity, session, iam.clock.now()).await {
            Ok(found) => found.ok_or(MemberError::TenantNotFound)?,
            Err(DbError::TenantNotActive) => return Err(closed(iam, tenant, identity).await?),
            Err(error) => return Err(error.into()),
        };
    if is_session_live || is_live_at_home(iam, tenant, identity, session).await? {
        Ok(authority)
    } else {
        Err(MemberError::SessionEnded)
    }
}

/// Sessions are kept at home: the cluster of a tenant that lives elsewhere knows of none, so home is asked.
async fn is_live_at_home(
    iam: &Iam,
    tenant: TenantId,
    identity: IdentityId,
    session: SessionId,
) -> Result<bool, DbError> {
    if !iam.db.has_clusters() || iam.db.resolve(&TenantSelector::Id(tenant)).await?.cluster.is_none() {
        return Ok(false);
    }
    let found = identities::service::find_principal(iam, identity, session).await?;
    Ok(found.is_some())
}

/// Only members may know that a tenant is there but closed.
async fn closed(iam: &Iam, tenant: TenantId, identity: IdentityId) -> Result<MemberError, DbError> {
    let mut tx = iam.db.control().await?;
    let membership = memberships::service::find(&mut tx, identity, &TenantSelector::Id(tenant)).await?;
    tx.commit().await?;
    Ok(membership.map_or(MemberError::TenantNotFound, |_| DbError::TenantNotActive.into()))
}

/// One page of the tenant's members by address; `search` looks at address and name.
#[instrument(skip_all)]
pub async fn list(
    scope: &Scope,
    tx: &mut TenantTx,
    search: Option<&str>,
    page: PageRequest,
) -> Result<Page<Member>, MemberError> {
    scope.require(Permission::UserRead)?;
    let search = search.map(Search::parse).transpose();
    let search = search.map_err(|violation| MemberError::Invalid(vec![violation]))?;
    Ok(store::list(tx, search.as_ref(), page).await?)
}

/// Makes the person an owner of the tenant whose schema the transaction has entered. Done before: nothing.
pub async fn add_owner(tx: &mut OwnerTx, identity: IdentityId) -> Result<(), DbError> {
    store::insert(tx, identity).await?;
    store::insert_grant(tx, identity, SystemRole::Owner).await
}

/// The same for a tenant that lives in another cluster: the person is read at `home`.
pub async fn add_owner_of(home: &mut OwnerTx, tx: &mut OwnerTx, identity: IdentityId) -> Result<(), DbError> {
    store::insert_of(home, tx, identity).await?;
    store::insert_grant(tx, identity, SystemRole::Owner).await
}
