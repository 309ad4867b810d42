//! What can be done with members.

use std::{sync::Arc, time::Instant};

use bulkhead_events::Event;
use bulkhead_kernel::{
    email::Email,
    ids::{IdentityId, SessionId, TenantId},
    page::{Page, PageRequest},
};
use bulkhead_mail::{Template, jobs::SendMail};
use bulkhead_tenancy::{DbError, OwnerTx, TenantSelector, TenantTx};
use chrono::{DateTime, Utc};
use tracing::instrument;

use super::{Authority, Member, MemberChanges, MemberError, NewMember, store};
use crate::{
    Iam, Scope,
    grants::{self, Turn},
    idempotency::Key,
    identities, memberships,
    permissions::{Permission, SystemRole},
    roles::{self, Role},
    search::Search,
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
    let found = identities::service::find_principal(iam, identity, session).await;
    iam.as_seen((identity, Some(session)), found.map(|found| found.is_some()))
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

/// One member.
#[instrument(skip_all)]
pub async fn get(scope: &Scope, tx: &mut TenantTx, id: IdentityId) -> Result<Member, MemberError> {
    scope.require(Permission::UserRead)?;
    find(tx, id).await
}

/// One member, whoever asks.
pub async fn find(tx: &mut TenantTx, id: IdentityId) -> Result<Member, MemberError> {
    store::find(tx, id).await?.ok_or(MemberError::NotFound)
}

/// Makes the person with this address a member, and an identity without a password where they are none. Who was a member
/// and is inactive is let in again, with the roles they kept. The person gets a mail; the answer is the same, and so is
/// the work, whether or not the address was known. Under an idempotency key the same request is answered the same way
/// without a second mail.
#[instrument(skip_all)]
pub async fn add(scope: &Scope, iam: &Iam, new: &NewMember, key: Option<&str>) -> Result<Member, MemberError> {
    let (email, names) = (new.email.as_str(), [new.first_name.as_str(), new.last_name.as_str()]);
    let body = (email, names, &new.roles);
    let key = key.map(|key| Key::new(scope, "POST /users", key, &body)).transpose()?;
    let mut tx = iam.db.tenant(scope.tenant.id).await?;
    if let Some(key) = &key
        && let Some(earlier) = earlier(scope, &mut tx, key, Permission::UserCreate, 201).await?
    {
        return Ok(earlier);
    }
    may_add(scope, &mut tx, new).await?;
    // Nothing was done so far: the key is free again, until the member is made.
    drop(tx);
    let names = [&new.first_name, &new.last_name];
    let (id, is_new) = identities::service::claim(iam, &new.email, names).await?;
    let mut tx = iam.db.tenant(scope.tenant.id).await?;
    if let Some(key) = &key
        && let Some(earlier) = earlier(scope, &mut tx, key, Permission::UserCreate, 201).await?
    {
        return Ok(earlier);
    }
    let (turn, roles) = may_add(scope, &mut tx, new).await?;
    let member = insert(scope, &mut tx, turn, id, new, &roles).await?;
    let template = if is_new {
        Template::AccountCreated
    } else {
        Template::MemberAdded
    };
    let mail = SendMail { to: id, template };
    bulkhead_jobs::enqueue(&scope.origin, &mut tx, &mail).await?;
    if let Some(key) = &key {
        key.keep(&mut tx, &member).await?;
    }
    tx.commit().await?;
    memberships::service::carry_soon(&iam.db, scope.tenant.id).await;
    Ok(member)
}

/// Takes the turn of who has `permission` and then the key, for this transaction, or gives the answer it once led to.
async fn earlier(
    scope: &Scope,
    tx: &mut TenantTx,
    key: &Key<'_>,
    permission: Permission,
    status: i16,
) -> Result<Option<Member>, MemberError> {
    Turn::take_to(scope, tx, permission).await?;
    Ok(key.claim(tx, status).await?)
}

/// Gives a member one more role, as [`grants::service::assign`]; under an idempotency key the same request is answered the
/// same way, whatever the member has by then.
#[instrument(skip_all)]
pub async fn assign_role(
    scope: &Scope,
    tx: &mut TenantTx,
    id: IdentityId,
    role: &str,
    key: Option<&str>,
) -> Result<Member, MemberError> {
    let route = "POST /tenants/{id}/users/{uid}/roles";
    let key = key.map(|key| Key::new(scope, route, key, &(id, role))).transpose()?;
    if let Some(key) = &key
        && let Some(earlier) = earlier(scope, tx, key, Permission::RoleAssignUsers, 200).await?
    {
        return Ok(earlier);
    }
    grants::service::assign(scope, tx, id, role).await?;
    let member = find(tx, id).await?;
    if let Some(key) = &key {
        key.keep(tx, &member).await?;
    }
    Ok(member)
}

/// Takes the turn, and refuses where the principal may not add this person with these roles.
async fn may_add(scope: &Scope, tx: &mut TenantTx, new: &NewMember) -> Result<(Turn, Vec<Role>), MemberError> {
    let turn = Turn::take_to(scope, tx, Permission::UserCreate).await?;
    if !new.roles.is_empty() {
        turn.require(Permission::RoleAssignUsers)?;
    }
    let roles = roles::service::grantable(&turn, tx, &new.roles).await?;
    if store::is_active(tx, &new.email).await? {
        return Err(MemberError::AlreadyMember);
    }
    Ok((turn, roles))
}

/// Whether an active member has this address.
pub(crate) async fn has_active(tx: &mut TenantTx, email: &Email) -> Result<bool, DbError> {
    store::is_active(tx, email).await
}

async fn insert(
    scope: &Scope,
    tx: &mut TenantTx,
    turn: Turn,
    id: IdentityId,
    new: &NewMember,
    roles: &[Role],
) -> Result<Member, MemberError> {
    let was_there = store::find(tx, id).await?.is_some();
    let person = Member {
        id,
        email: new.email.as_str().to_owned(),
        first_name: new.first_name.as_str().to_owned(),
        last_name: new.last_name.as_str().to_owned(),
        is_active: true,
        roles: Vec::new(),
        version: 0,
    };
    let member = admit(tx, turn, &person, scope.person()?.identity, roles, scope.clock.now()).await?;
    let event = scope.event("user.create").on("user", id);
    let event = event.change("is_active", was_there.then_some(false), true).change(
        "roles",
        None::<String>,
        member.roles.clone(),
    );
    bulkhead_audit::record(tx, event).await?;
    let told = Event::MemberAdded((&member).into());
    bulkhead_events::emit(&scope.origin, tx, scope.clock.now(), &told).await?;
    Ok(member)
}

/// Lets a person in, new or again, with roles that the holder of the turn may give.
pub(crate) async fn admit(
    tx: &mut TenantTx,
    turn: Turn,
    person: &Member,
    granter: IdentityId,
    roles: &[Role],
    now: DateTime<Utc>,
) -> Result<Member, MemberError> {
    turn.require_above(tx, &[person.id]).await?;
    let written = store::upsert(tx, person, now).await;
    written.map_err(|error| match error.constraint() {
        Some("members_email_key") => MemberError::AlreadyMember,
        _ => error.into(),
    })?;
    grants::service::give(tx, person.id, roles, granter, now).await?;
    turn.finish(tx, &[person.id]).await?;
    find(tx, person.id).await
}

/// Renames a member within the tenant, lets them in or keeps them out; with `seen` only if they still have one of these
/// versions. Who is kept out keeps their roles.
#[instrument(skip_all)]
pub async fn update(
    scope: &Scope,
    tx: &mut TenantTx,
    id: IdentityId,
    seen: Option<&[i64]>,
    changes: &MemberChanges,
) -> Result<Member, MemberError> {
    let (turn, before) = lock(scope, tx, Permission::UserUpdate, id, seen).await?;
    let mut after = before.clone();
    if let Some(is_active) = changes.is_active {
        after.is_active = is_active;
    }
    if let Some(name) = &changes.first_name {
        name.as_str().clone_into(&mut after.first_name);
    }
    if let Some(name) = &changes.last_name {
        name.as_str().clone_into(&mut after.last_name);
    }
    if before == after {
        return Ok(after);
    }
    store::upsert(tx, &after, scope.clock.now()).await?;
    turn.finish(tx, &[id]).await?;
    after.version += 1;
    let event = scope.event("user.update").on("user", id);
    let event = event
        .change("is_active", before.is_active, after.is_active)
        .change("first_name", before.first_name, after.first_name.as_str())
        .change("last_name", before.last_name, after.last_name.as_str());
    bulkhead_audit::record(tx, event).await?;
    let told = Event::MemberUpdated((&after).into());
    bulkhead_events::emit(&scope.origin, tx, scope.clock.now(), &told).await?;
    Ok(after)
}

/// Removes a member from the tenant with all roles; with `seen` only if they still have one of these versions. The person
/// stays who they are everywhere else.
#[instrument(skip_all)]
pub async fn remove(scope: &Scope, tx: &mut TenantTx, id: IdentityId, seen: Option<&[i64]>) -> Result<(), MemberError> {
    let (turn, member) = lock(scope, tx, Permission::UserDelete, id, seen).await?;
    store::delete(tx, id).await?;
    turn.finish(tx, &[]).await?;
    let told = Event::MemberRemoved((&member).into());
    let event = scope.event("user.delete").on("user", id);
    let event = event.change("roles", member.roles, None::<String>);
    bulkhead_audit::record(tx, event).await?;
    Ok(bulkhead_events::emit(&scope.origin, tx, scope.clock.now(), &told).await?)
}

/// A member whom the principal may touch in this very moment: one who holds no more than they do.
async fn lock(
    scope: &Scope,
    tx: &mut TenantTx,
    permission: Permission,
    id: IdentityId,
    seen: Option<&[i64]>,
) -> Result<(Turn, Member), MemberError> {
    let turn = Turn::take_to(scope, tx, permission).await?;
    let member = find(tx, id).await?;
    turn.require_above(tx, &[id]).await?;
    if seen.is_some_and(|versions| !versions.contains(&member.version)) {
        return Err(MemberError::Changed);
    }
    Ok((turn, member))
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
