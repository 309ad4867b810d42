//! What members can do with invitations.

use bulkhead_kernel::{
    ids::{InvitationId, RoleId},
    page::{Page, PageRequest},
};
use bulkhead_tenancy::{DbError, TenantTx};
use tracing::instrument;

use super::{
    Invitation, InvitationError, Lifetime, NewInvitation, Status,
    jobs::SendInvitation,
    model::{InvitedRole, parse_roles},
    store,
};
use crate::{
    Scope,
    grants::Turn,
    idempotency::Key,
    members,
    permissions::Permission,
    roles::{self, Role, RoleError},
    search::Search,
};

/// Invites somebody to become a member with roles that the principal may give. No more than `max_pending` wait at a time.
/// Under an idempotency key the same request is answered the same way without a second invitation.
#[instrument(skip_all)]
pub async fn invite(
    scope: &Scope,
    tx: &mut TenantTx,
    new: &NewInvitation,
    max_pending: i64,
    key: Option<&str>,
) -> Result<Invitation, InvitationError> {
    let body = (new.email.as_str(), &new.roles, new.lifetime.days());
    let key = key.map(|key| Key::new(scope, "POST /invitations", key, &body));
    let key = key.transpose()?;
    let turn = Turn::take_to(scope, tx, Permission::InvitationCreate).await?;
    if let Some(key) = &key
        && let Some(earlier) = key.claim(tx, 201).await?
    {
        return Ok(earlier);
    }
    let roles = roles::service::grantable(&turn, tx, &new.roles).await?;
    if members::service::has_active(tx, &new.email).await? {
        return Err(InvitationError::AlreadyMember);
    }
    let now = scope.clock.now();
    store::set_expired(tx, new.email.as_str(), now).await?;
    if store::count_pending(tx, now).await? >= max_pending {
        return Err(InvitationError::TooMany(max_pending));
    }
    let id = InvitationId::new();
    let inserted = store::insert(tx, id, new, scope.person()?.identity, now).await;
    inserted.map_err(already_invited)?;
    #[cfg(not(bulkhead_mutant = "enqueue_after_commit"))]
    send(scope, tx, id, 1).await?;
    let event = scope.event("invitation.create").on("invitation", id);
    bulkhead_audit::record(tx, event.change("roles", None::<String>, names(&roles))).await?;
    kept(scope, tx, id, key.as_ref()).await
}

/// The invitation as it is answered, stored under the key.
async fn kept(
    scope: &Scope,
    tx: &mut TenantTx,
    id: InvitationId,
    key: Option<&Key<'_>>,
) -> Result<Invitation, InvitationError> {
    let invitation = find(scope, tx, id).await?;
    if let Some(key) = key {
        key.keep(tx, &invitation).await?;
    }
    Ok(invitation)
}

fn already_invited(error: DbError) -> InvitationError {
    if error.constraint() == Some("invitations_pending_key") {
        InvitationError::AlreadyInvited
    } else {
        error.into()
    }
}

/// One page of invitations, the newest first; only those of `status` where it is given. `search` looks at the address.
#[instrument(skip_all)]
pub async fn list(
    scope: &Scope,
    tx: &mut TenantTx,
    status: Option<Status>,
    search: Option<&str>,
    page: PageRequest,
) -> Result<Page<Invitation>, InvitationError> {
    scope.require(Permission::InvitationRead)?;
    let search = search.map(Search::parse).transpose();
    let search = search.map_err(|violation| InvitationError::Invalid(vec![violation]))?;
    let (items, total) = store::list(tx, status, search.as_ref(), page, scope.clock.now()).await?;
    Ok(Page {
        items,
        total,
        request: page,
    })
}

/// One invitation.
#[instrument(skip_all)]
pub async fn get(scope: &Scope, tx: &mut TenantTx, id: InvitationId) -> Result<Invitation, InvitationError> {
    scope.require(Permission::InvitationRead)?;
    find(scope, tx, id).await
}

async fn find(scope: &Scope, tx: &mut TenantTx, id: InvitationId) -> Result<Invitation, InvitationError> {
    let found = store::find(tx, id, scope.clock.now()).await?;
    found.ok_or(InvitationError::NotFound)
}

/// Gives a pending invitation other roles, for which the principal answers from now on; with `seen` only if it still has one
/// of these versions. The link in the mail stays good.
#[instrument(skip_all)]
pub async fn update(
    scope: &Scope,
    tx: &mut TenantTx,
    id: InvitationId,
    seen: Option<&[i64]>,
    role_ids: &[String],
) -> Result<Invitation, InvitationError> {
    let role_ids = parse_roles(role_ids).map_err(InvitationError::Invalid)?;
    let (turn, before) = lock(scope, tx, Permission::InvitationUpdate, id).await?;
    require_seen(&before, seen)?;
    if before.status != Status::Pending {
        return Err(InvitationError::Closed(before.status));
    }
    let roles = roles::service::grantable(&turn, tx, &role_ids).await?;
    store::set_roles(tx, id, &role_ids).await?;
    store::set_granter(tx, id, scope.person()?.identity).await?;
    let event = scope.event("invitation.update").on("invitation", id);
    let event = event.change("roles", known_names(&before.roles), names(&roles));
    bulkhead_audit::record(tx, event).await?;
    find(scope, tx, id).await
}

/// Sends another mail, and ends what those before it carry. One that has expired waits again. The principal answers for its
/// roles from now on. Under an idempotency key the same request is answered the same way without a second mail.
#[instrument(skip_all)]
pub async fn resend(
    scope: &Scope,
    tx: &mut TenantTx,
    id: InvitationId,
    lifetime: Lifetime,
    key: Option<&str>,
) -> Result<Invitation, InvitationError> {
    let body = (id, lifetime.days());
    let key = key.map(|key| Key::new(scope, "POST /invitations/{id}/resend", key, &body));
    let key = key.transpose()?;
    Turn::take_to(scope, tx, Permission::InvitationUpdate).await?;
    if let Some(key) = &key
        && let Some(earlier) = key.claim(tx, 200).await?
    {
        return Ok(earlier);
    }
    let (turn, before) = lock(scope, tx, Permission::InvitationUpdate, id).await?;
    if before.closed_at.is_some() {
        return Err(InvitationError::Closed(before.status));
    }
    let role_ids: Vec<RoleId> = before.roles.iter().map(|role| role.id).collect();
    roles::service::grantable(&turn, tx, &role_ids)
        .await
        .map_err(|error| match error {
            RoleError::Unknown(_) => InvitationError::RoleGone,
            error => error.into(),
        })?;
    let expires_at = lifetime.from(scope.clock.now());
    let generation = store::set_resent(tx, id, scope.person()?.identity, expires_at).await?;
    send(scope, tx, id, generation).await?;
    let event = scope.event("invitation.resend").on("invitation", id);
    let event = event.change("expires_at", before.expires_at.to_rfc3339(), expires_at.to_rfc3339());
    bulkhead_audit::record(tx, event).await?;
    kept(scope, tx, id, key.as_ref()).await
}

/// Takes an invitation back; with `seen` only if it still has one of these versions. Done before: nothing.
#[instrument(skip_all)]
pub async fn revoke(
    scope: &Scope,
    tx: &mut TenantTx,
    id: InvitationId,
    seen: Option<&[i64]>,
) -> Result<(), InvitationError> {
    let (_turn, before) = lock(scope, tx, Permission::InvitationDelete, id).await?;
    match before.status {
        Status::Accepted => return Err(InvitationError::Closed(before.status)),
        _ if before.closed_at.is_some() => return Ok(()),
        _ => require_seen(&before, seen)?,
    }
    store::set_closed(tx, id, Status::Revoked, None, scope.clock.now()).await?;
    let event = scope.event("invitation.revoke").on("invitation", id);
    let event = event.change("status", before.status.as_str(), Status::Revoked.as_str());
    Ok(bulkhead_audit::record(tx, event).await?)
}

/// An invitation that nobody else changes or accepts until the transaction ends.
async fn lock(
    scope: &Scope,
    tx: &mut TenantTx,
    permission: Permission,
    id: InvitationId,
) -> Result<(Turn, Invitation), InvitationError> {
    let turn = Turn::take_to(scope, tx, permission).await?;
    Ok((turn, find(scope, tx, id).await?))
}

fn require_seen(invitation: &Invitation, seen: Option<&[i64]>) -> Result<(), InvitationError> {
    if seen.is_none_or(|versions| versions.contains(&invitation.version)) {
        Ok(())
    } else {
        Err(InvitationError::Changed)
    }
}

async fn send(scope: &Scope, tx: &mut TenantTx, id: InvitationId, generation: i32) -> Result<(), InvitationError> {
    let job = SendInvitation {
        invitation: id,
        generation,
    };
    bulkhead_jobs::enqueue(&scope.origin, tx, &job).await?;
    Ok(())
}

#[cfg(all(bulkhead_mutant = "enqueue_after_commit", not(debug_assertions)))]
compile_error!("a deliberate bug is no part of a release");

/// The deliberate bug that `make chaos-mutants` plants: the job in a transaction of its own, after that of its row.
#[cfg(bulkhead_mutant = "enqueue_after_commit")]
pub async fn send_after_commit(
    scope: &Scope,
    db: &bulkhead_tenancy::Db,
    id: InvitationId,
) -> Result<(), InvitationError> {
    let mut tx = db.tenant(scope.tenant.id).await?;
    send(scope, &mut tx, id, 1).await?;
    Ok(tx.commit().await?)
}

fn names(roles: &[Role]) -> Vec<String> {
    roles.iter().map(|role| role.name.clone()).collect()
}

fn known_names(roles: &[InvitedRole]) -> Vec<String> {
    roles.iter().filter_map(|role| role.name.clone()).collect()
}
