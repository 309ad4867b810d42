//! What can be done with tenants.

use bulkhead_audit::{Actor, Event};
use bulkhead_iam::{memberships, permissions::SystemRole};
use bulkhead_jobs::Owner;
use bulkhead_kernel::{
    ids::{IdentityId, TenantId},
    origin::Origin,
};
use bulkhead_tenancy::{ControlTx, Db, Slug};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    Created, Membership, NewTenant, StepStatus, TenantError, TenantName, capacity, jobs::OnboardTenant, onboarding,
    placement, store,
};

/// Signs a company up: the pending tenant, its founder's membership, the steps and the job commit together. Under an
/// idempotency key the same request is answered the same way without a second tenant.
pub async fn create(origin: &Origin, db: &Db, founder: IdentityId, new: &NewTenant) -> Result<Created, TenantError> {
    match insert(origin, db, founder, new).await {
        // Whoever held the key or the slug meanwhile may have been the same request.
        Err(TenantError::InProgress | TenantError::SlugTaken) if new.key.is_some() => {
            insert(origin, db, founder, new).await
        }
        result => result,
    }
}

async fn insert(origin: &Origin, db: &Db, founder: IdentityId, new: &NewTenant) -> Result<Created, TenantError> {
    let mut tx = db.control().await?;
    if let Some(key) = &new.key
        && let Some((created, hash)) = store::find_by_key(&mut tx, founder, key).await?
    {
        tx.commit().await?;
        return if hash == new.hash() {
            Ok(created)
        } else {
            Err(TenantError::KeyReused)
        };
    }
    let id = TenantId::new();
    let slug = match &new.slug {
        Some(slug) => slug.clone(),
        None => free_slug(&mut tx, &new.name, None, id).await?,
    };
    let job = OnboardTenant {
        tenant: id,
        owner: founder,
    };
    let job = bulkhead_jobs::enqueue_for(origin, &mut tx, Owner::Tenant(id), &job).await?;
    let job = job.ok_or(TenantError::InProgress)?;
    let created = Created { id, slug, job };
    store::insert(&mut tx, &created, new, founder).await?;
    let cluster = capacity::service::choose(&mut tx, db).await?;
    if !cluster.is_home() {
        placement::store::insert(&mut tx, id, &cluster).await?;
    }
    store::insert_steps(&mut tx, id, &onboarding::step_names()).await?;
    memberships::service::join(&mut tx, founder, id, SystemRole::Owner).await?;
    let event = Event::now("tenant.create", Actor::member(founder), origin)
        .on("tenant", id)
        .change("name", Value::Null, new.name.as_str())
        .change("slug", Value::Null, created.slug.as_str());
    bulkhead_audit::record_for(&mut tx, id, event).await?;
    tx.commit().await?;
    Ok(created)
}

/// The slug that is wished for, else one from the name; made unlike all others by a piece of the tenant's id where that is
/// needed.
pub(crate) async fn free_slug(
    tx: &mut ControlTx,
    name: &TenantName,
    wish: Option<Slug>,
    id: TenantId,
) -> Result<Slug, TenantError> {
    let slug = wish
        .or_else(|| Slug::from_name(name.as_str()))
        .ok_or(TenantError::SlugNeeded)?;
    if !store::is_slug_taken(tx, &slug).await? {
        return Ok(slug);
    }
    let suffix = format!("{:08x}", Uuid::as_u64_pair(&id.uuid()).1 & 0xffff_ffff);
    let room = Slug::MAX_LEN - 1 - suffix.len();
    let stem: String = slug.as_str().chars().take(room).collect();
    format!("{}-{suffix}", stem.trim_end_matches('-'))
        .parse()
        .map_err(|_| TenantError::SlugNeeded)
}

/// The tenants somebody may choose from, by name.
pub async fn list(db: &Db, identity: IdentityId) -> Result<Vec<Membership>, TenantError> {
    let mut tx = db.control().await?;
    let memberships = store::list_for(&mut tx, identity, None).await?;
    tx.commit().await?;
    Ok(memberships)
}

/// One tenant, hidden from everybody but its members.
pub async fn get(db: &Db, identity: IdentityId, tenant: TenantId) -> Result<Membership, TenantError> {
    let mut tx = db.control().await?;
    let membership = find(&mut tx, identity, tenant).await?;
    tx.commit().await?;
    Ok(membership)
}

/// How far the tenant's compartment is built; for its members.
pub async fn onboarding(
    db: &Db,
    identity: IdentityId,
    tenant: TenantId,
) -> Result<(Membership, Vec<StepStatus>), TenantError> {
    let mut tx = db.control().await?;
    let membership = find(&mut tx, identity, tenant).await?;
    let steps = store::list_steps(&mut tx, tenant).await?;
    tx.commit().await?;
    Ok((membership, steps))
}

async fn find(tx: &mut ControlTx, identity: IdentityId, tenant: TenantId) -> Result<Membership, TenantError> {
    let mut found = store::list_for(tx, identity, Some(tenant)).await?;
    found.pop().ok_or(TenantError::NotFound)
}
