//! What can be done with roles.

use bulkhead_events::Event;
use bulkhead_kernel::ids::{IdentityId, RoleId};
use bulkhead_tenancy::{DbError, OwnerTx, TenantTx};
use tracing::instrument;

use super::{Held, NewRole, Role, RoleChanges, RoleError, model::parse_permissions, store};
use crate::{
    Scope,
    grants::Turn,
    idempotency::Key,
    permissions::{Permission, PermissionSet},
};

/// Gives the tenant whose schema the transaction has entered the system roles with the permissions of this release. Done
/// before: what is missing is added, what a release has taken away goes.
pub async fn seed(tx: &mut OwnerTx) -> Result<(), DbError> {
    store::upsert_system_roles(tx).await?;
    store::insert_system_permissions(tx).await?;
    store::delete_retired_permissions(tx).await
}

/// The roles of these ids, if the principal may give every one of them: they exist, and the principal holds in this very
/// moment all that they allow. Nobody changes them, or anybody's rights, until the transaction ends. An id that is no
/// role's is told by its place, `/role_ids/2`. Ask this before other rows are locked.
#[instrument(skip_all)]
pub async fn require_grantable(scope: &Scope, tx: &mut TenantTx, roles: &[RoleId]) -> Result<Vec<Role>, RoleError> {
    let turn = Turn::take(scope, tx).await?;
    grantable(&turn, tx, roles).await
}

/// [`require_grantable`] for what was given earlier and acts now, such as an invitation that is accepted: it is judged by
/// what its granter holds in this very moment. A granter who has left or was deactivated gives nothing.
#[instrument(skip_all)]
pub async fn require_grantable_by(
    tx: &mut TenantTx,
    granter: IdentityId,
    roles: &[RoleId],
) -> Result<Vec<Role>, RoleError> {
    let turn = Turn::take_for(tx, granter).await?;
    grantable(&turn, tx, roles).await
}

/// Refuses unless the principal holds all of `permissions` in this very moment; for what carries permissions without a
/// role, such as an API key. Nobody's rights change until the transaction ends.
#[instrument(skip_all)]
pub async fn require_held(scope: &Scope, tx: &mut TenantTx, permissions: PermissionSet) -> Result<(), RoleError> {
    Turn::take(scope, tx).await?.require_covers(&permissions.into())
}

/// What an active member holds in this very moment; `None` for everybody else. Locks nothing: for judging at the time of
/// use what somebody gave before.
#[instrument(skip_all)]
pub async fn held_by(tx: &mut TenantTx, member: IdentityId) -> Result<Option<Held>, DbError> {
    crate::grants::held_by(tx, member).await
}

/// Roles by id, in the order of the ids, all of which the holder of the turn may give.
pub(crate) async fn grantable(turn: &Turn, tx: &mut TenantTx, ids: &[RoleId]) -> Result<Vec<Role>, RoleError> {
    let found = store::list(tx, Some(ids)).await?;
    let mut roles = Vec::with_capacity(ids.len());
    for (index, id) in ids.iter().enumerate() {
        let role = found.iter().find(|role| role.id == *id);
        let role = role.ok_or_else(|| RoleError::Unknown(format!("/role_ids/{index}")))?;
        turn.require_covers(&role.permissions)?;
        roles.push(role.clone());
    }
    Ok(roles)
}

/// A role, whoever asks.
pub(crate) async fn find(tx: &mut TenantTx, id: RoleId) -> Result<Role, RoleError> {
    let found = store::list(tx, Some(&[id])).await?.pop();
    found.ok_or(RoleError::NotFound)
}

/// All roles: those of the system, then the tenant's own by name.
#[instrument(skip_all)]
pub async fn list(scope: &Scope, tx: &mut TenantTx) -> Result<Vec<Role>, RoleError> {
    scope.require(Permission::RoleRead)?;
    Ok(store::list(tx, None).await?)
}

/// One role.
#[instrument(skip_all)]
pub async fn get(scope: &Scope, tx: &mut TenantTx, id: RoleId) -> Result<Role, RoleError> {
    scope.require(Permission::RoleRead)?;
    find(tx, id).await
}

/// What a role allows, for those who change it.
#[instrument(skip_all)]
pub async fn permissions(scope: &Scope, tx: &mut TenantTx, id: RoleId) -> Result<Held, RoleError> {
    scope.require(Permission::RoleUpdate)?;
    Ok(find(tx, id).await?.permissions)
}

/// Makes a role of what the principal holds. Under an idempotency key the same request is answered the same way without a
/// second one.
#[instrument(skip_all)]
pub async fn create(scope: &Scope, tx: &mut TenantTx, new: &NewRole, key: Option<&str>) -> Result<Role, RoleError> {
    let body = (&new.name, &new.description, ids(&new.permissions.into()));
    let key = key.map(|key| Key::new(scope, "POST /roles", key, &body)).transpose()?;
    let turn = Turn::take_to(scope, tx, Permission::RoleCreate).await?;
    if let Some(key) = &key
        && let Some(earlier) = key.claim(tx, 201).await?
    {
        return Ok(earlier);
    }
    turn.require_covers(&new.permissions.into())?;
    let id = RoleId::new();
    store::insert(tx, id, new, scope.clock.now())
        .await
        .map_err(name_taken)?;
    store::set_permissions(tx, id, new.permissions).await?;
    let role = find(tx, id).await?;
    let event = scope.event("role.create").on("role", id);
    let event = event
        .change("name", None::<String>, role.name.as_str())
        .change("description", None::<String>, role.description.as_str())
        .change("permissions", None::<String>, ids(&role.permissions));
    bulkhead_audit::record(tx, event).await?;
    tell(scope, tx, Event::RoleCreated(told(&role))).await?;
    if let Some(key) = &key {
        key.keep(tx, &role).await?;
    }
    Ok(role)
}

/// Changes a role; with `seen` only if it still has one of these versions.
#[instrument(skip_all)]
pub async fn update(
    scope: &Scope,
    tx: &mut TenantTx,
    id: RoleId,
    seen: Option<&[i64]>,
    changes: &RoleChanges,
) -> Result<Role, RoleError> {
    let before = lock(scope, tx, Permission::RoleUpdate, id, seen).await?;
    let mut after = before.clone();
    if let Some(name) = &changes.name {
        after.name.clone_from(name);
    }
    if let Some(description) = &changes.description {
        after.description.clone_from(description);
    }
    if let Some(permissions) = changes.permissions {
        after.permissions = permissions.into();
    }
    write(scope, tx, &before, after).await
}

/// Adds permissions to a role; those it has stay. Under an idempotency key the same request is answered the same way,
/// whatever the role allows by then.
#[instrument(skip_all)]
pub async fn add_permissions(
    scope: &Scope,
    tx: &mut TenantTx,
    id: RoleId,
    seen: Option<&[i64]>,
    permission_ids: &[String],
    key: Option<&str>,
) -> Result<Role, RoleError> {
    let added = parse_permissions(permission_ids).map_err(RoleError::Invalid)?;
    let body = (id, ids(&added.into()));
    let key = key.map(|key| Key::new(scope, "POST /roles/{id}/permissions", key, &body));
    let key = key.transpose()?;
    Turn::take_to(scope, tx, Permission::RoleUpdate).await?;
    if let Some(key) = &key
        && let Some(earlier) = key.claim(tx, 200).await?
    {
        return Ok(earlier);
    }
    let before = lock(scope, tx, Permission::RoleUpdate, id, seen).await?;
    let mut after = before.clone();
    after.permissions = before.permissions.known().with(added).into();
    let role = write(scope, tx, &before, after).await?;
    if let Some(key) = &key {
        key.keep(tx, &role).await?;
    }
    Ok(role)
}

/// Takes a permission from a role that has it.
#[instrument(skip_all)]
pub async fn remove_permission(
    scope: &Scope,
    tx: &mut TenantTx,
    id: RoleId,
    seen: Option<&[i64]>,
    permission: Permission,
) -> Result<Role, RoleError> {
    let before = lock(scope, tx, Permission::RoleUpdate, id, seen).await?;
    if !before.permissions.known().contains(permission) {
        return Err(RoleError::NotFound);
    }
    let mut after = before.clone();
    after.permissions = before
        .permissions
        .known()
        .without(PermissionSet::of(&[permission]))
        .into();
    write(scope, tx, &before, after).await
}

/// Deletes a role that nobody has; with `seen` only if it still has one of these versions.
#[instrument(skip_all)]
pub async fn delete(scope: &Scope, tx: &mut TenantTx, id: RoleId, seen: Option<&[i64]>) -> Result<(), RoleError> {
    let role = lock(scope, tx, Permission::RoleDelete, id, seen).await?;
    if role.n_users > 0 {
        return Err(RoleError::Assigned(role.n_users));
    }
    store::delete(tx, id).await?;
    let event = scope.event("role.delete").on("role", id);
    let event = event.change("name", role.name.as_str(), None::<String>);
    bulkhead_audit::record(tx, event).await?;
    tell(scope, tx, Event::RoleDeleted(told(&role))).await
}

/// A role that the principal may change in this very moment: one of the tenant's own, within what they hold.
async fn lock(
    scope: &Scope,
    tx: &mut TenantTx,
    permission: Permission,
    id: RoleId,
    seen: Option<&[i64]>,
) -> Result<Role, RoleError> {
    let turn = Turn::take_to(scope, tx, permission).await?;
    let role = find(tx, id).await?;
    if role.is_system {
        return Err(RoleError::System);
    }
    turn.require_covers(&role.permissions)?;
    if seen.is_some_and(|versions| !versions.contains(&role.version)) {
        return Err(RoleError::Changed);
    }
    Ok(role)
}

/// Writes a locked role, if anything about it is new.
async fn write(scope: &Scope, tx: &mut TenantTx, before: &Role, mut after: Role) -> Result<Role, RoleError> {
    if *before == after {
        return Ok(after);
    }
    Turn::take(scope, tx).await?.require_covers(&after.permissions)?;
    after.version += 1;
    store::set(tx, &after, scope.clock.now()).await.map_err(name_taken)?;
    store::set_permissions(tx, after.id, after.permissions.known()).await?;
    let event = scope.event("role.update").on("role", after.id);
    let event = event
        .change("name", before.name.as_str(), after.name.as_str())
        .change("description", before.description.as_str(), after.description.as_str())
        .change("permissions", ids(&before.permissions), ids(&after.permissions));
    bulkhead_audit::record(tx, event).await?;
    tell(scope, tx, Event::RoleUpdated(told(&after))).await?;
    Ok(after)
}

fn told(role: &Role) -> bulkhead_events::Role {
    bulkhead_events::Role {
        id: role.id,
        name: role.name.clone(),
        permissions: ids(&role.permissions),
    }
}

async fn tell(scope: &Scope, tx: &mut TenantTx, event: Event) -> Result<(), RoleError> {
    Ok(bulkhead_events::emit(&scope.origin, tx, scope.clock.now(), &event).await?)
}

fn ids(permissions: &Held) -> Vec<String> {
    permissions.ids().map(str::to_owned).collect()
}

fn name_taken(error: DbError) -> RoleError {
    if error.constraint() == Some("roles_name_key") {
        RoleError::NameTaken
    } else {
        error.into()
    }
}
