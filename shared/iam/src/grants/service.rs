//! What can be done with grants.

use std::collections::BTreeSet;

use bulkhead_events::EventType;
use bulkhead_kernel::ids::{IdentityId, RoleId};
use bulkhead_tenancy::TenantTx;
use chrono::{DateTime, Utc};
use tracing::instrument;

use super::{Turn, store};
use crate::{
    Scope,
    permissions::Permission,
    roles::{self, Role, RoleError},
};

/// Gives a member one more role; one they have they keep. A role that does not exist is told as one of a body.
#[instrument(skip_all)]
pub async fn assign(scope: &Scope, tx: &mut TenantTx, member: IdentityId, role: &str) -> Result<(), RoleError> {
    let turn = begin(scope, tx).await?;
    require_members(tx, &[member], |_| RoleError::NotFound).await?;
    let found = match role.parse::<RoleId>() {
        Ok(id) => roles::service::find(tx, id).await,
        Err(_) => Err(RoleError::NotFound),
    };
    let role = found.map_err(|error| match error {
        RoleError::NotFound => RoleError::Unknown("/role_id".into()),
        other => other,
    })?;
    turn.require_covers(&role.permissions)?;
    turn.require_above(tx, &[member]).await?;
    if store::list_holders(tx, role.id).await?.contains(&member) {
        return Ok(());
    }
    store::insert(tx, role.id, &[member], scope.person()?.identity, scope.clock.now()).await?;
    turn.finish(tx, &[member]).await?;
    tell(scope, tx, &[member]).await?;
    record(scope, tx, "role.assign", role.id, member).await
}

/// Takes a role from a member who has it.
#[instrument(skip_all)]
pub async fn unassign(scope: &Scope, tx: &mut TenantTx, member: IdentityId, role: RoleId) -> Result<(), RoleError> {
    let turn = begin(scope, tx).await?;
    if !store::list_holders(tx, role).await?.contains(&member) {
        return Err(RoleError::NotFound);
    }
    turn.require_above(tx, &[member]).await?;
    store::delete(tx, role, &[member]).await?;
    turn.finish(tx, &[member]).await?;
    tell(scope, tx, &[member]).await?;
    record(scope, tx, "role.unassign", role, member).await
}

/// Who has the role, by id.
#[instrument(skip_all)]
pub async fn holders(scope: &Scope, tx: &mut TenantTx, role: RoleId) -> Result<Vec<IdentityId>, RoleError> {
    scope.require_all(&[Permission::UserRead, Permission::RoleRead])?;
    roles::service::find(tx, role).await?;
    Ok(store::list_holders(tx, role).await?)
}

/// Makes these people all who have the role. Whoever has it already is not touched.
#[instrument(skip_all)]
pub async fn set_holders(
    scope: &Scope,
    tx: &mut TenantTx,
    role: RoleId,
    wanted: &[IdentityId],
) -> Result<Vec<IdentityId>, RoleError> {
    let turn = begin(scope, tx).await?;
    let role = roles::service::find(tx, role).await?;
    turn.require_covers(&role.permissions)?;
    require_members(tx, wanted, |index| RoleError::Unknown(format!("/user_ids/{index}"))).await?;
    let before = store::list_holders(tx, role.id).await?;
    let (old, new): (BTreeSet<_>, BTreeSet<_>) = (before.iter().copied().collect(), wanted.iter().copied().collect());
    let added: Vec<_> = new.difference(&old).copied().collect();
    let removed: Vec<_> = old.difference(&new).copied().collect();
    let touched: Vec<_> = old.symmetric_difference(&new).copied().collect();
    if touched.is_empty() {
        return Ok(before);
    }
    turn.require_above(tx, &touched).await?;
    store::insert(tx, role.id, &added, scope.person()?.identity, scope.clock.now()).await?;
    store::delete(tx, role.id, &removed).await?;
    turn.finish(tx, &touched).await?;
    tell(scope, tx, &touched).await?;
    let after = store::list_holders(tx, role.id).await?;
    record_holders(scope, tx, &role, &before, &after).await?;
    Ok(after)
}

/// Gives roles that are known to be grantable to a member who is being added.
pub(crate) async fn give(
    tx: &mut TenantTx,
    member: IdentityId,
    roles: &[Role],
    granter: IdentityId,
    now: DateTime<Utc>,
) -> Result<(), RoleError> {
    for role in roles {
        store::insert(tx, role.id, &[member], granter, now).await?;
    }
    Ok(())
}

/// Tells of members who have other roles now, each by what they have; asks first, as there may be many.
async fn tell(scope: &Scope, tx: &mut TenantTx, touched: &[IdentityId]) -> Result<(), RoleError> {
    if !bulkhead_events::is_wanted(tx, EventType::MemberUpdated).await? {
        return Ok(());
    }
    for told in store::list_told(tx, touched).await? {
        let event = bulkhead_events::Event::MemberUpdated(told);
        bulkhead_events::emit(&scope.origin, tx, scope.clock.now(), &event).await?;
    }
    Ok(())
}

async fn begin(scope: &Scope, tx: &mut TenantTx) -> Result<Turn, RoleError> {
    let turn = Turn::take_to(scope, tx, Permission::RoleAssignUsers).await?;
    Ok(turn)
}

/// Refuses for the first of these people who is no member.
async fn require_members(
    tx: &mut TenantTx,
    people: &[IdentityId],
    missing: impl Fn(usize) -> RoleError,
) -> Result<(), RoleError> {
    let members: BTreeSet<_> = store::list_members(tx, people).await?.into_iter().collect();
    match people.iter().position(|person| !members.contains(person)) {
        Some(index) => Err(missing(index)),
        None => Ok(()),
    }
}

async fn record(
    scope: &Scope,
    tx: &mut TenantTx,
    action: &'static str,
    role: RoleId,
    member: IdentityId,
) -> Result<(), RoleError> {
    let event = scope.event(action).on("role", role).on("user", member);
    Ok(bulkhead_audit::record(tx, event).await?)
}

async fn record_holders(
    scope: &Scope,
    tx: &mut TenantTx,
    role: &Role,
    before: &[IdentityId],
    after: &[IdentityId],
) -> Result<(), RoleError> {
    let ids = |members: &[IdentityId]| members.iter().map(ToString::to_string).collect::<Vec<_>>();
    let event = scope.event("role.set_users").on("role", role.id);
    let event = event.change("user_ids", ids(before), ids(after));
    Ok(bulkhead_audit::record(tx, event).await?)
}
