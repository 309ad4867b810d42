//! What can be done with tenants.

use bulkhead_iam::{memberships, permissions::SystemRole};
use bulkhead_jobs::Owner;
use bulkhead_kernel::{
    ids::{IdentityId, TenantId},
    origin::Origin,
};
use bulkhead_tenancy::{ControlTx, Db, Slug};
use uuid::Uuid;

use crate::{Created, Membership, NewTenant, StepStatus, TenantError, jobs::OnboardTenant, onboarding, store};

/// Signs a company up: the pending tenant, its founder's membership, the steps and the job commit together.
pub async fn create(origin: &Origin, db: &Db, founder: IdentityId, new: &NewTenant) -> Result<Created, TenantError> {
    let mut tx = db.control().await?;
    let id = TenantId::new();
    let slug = match &new.slug {
        Some(slug) => slug.clone(),
        None => free_slug(&mut tx, new, id).await?,
    };
    store::insert(&mut tx, id, &slug, &new.name, founder).await?;
    store::insert_steps(&mut tx, id, &onboarding::step_names()).await?;
    memberships::service::join(&mut tx, founder, id, SystemRole::Owner).await?;
    let job = OnboardTenant {
        tenant: id,
        owner: founder,
    };
    let job = bulkhead_jobs::enqueue_for(origin, &mut tx, Owner::Tenant(id), &job).await?;
    tx.commit().await?;
    let job = job.ok_or(TenantError::NotFound)?;
    Ok(Created { id, slug, job })
}

/// A slug from the name, made unlike all others by a piece of the tenant's id where that is needed.
async fn free_slug(tx: &mut ControlTx, new: &NewTenant, id: TenantId) -> Result<Slug, TenantError> {
    let slug = Slug::from_name(new.name.as_str()).ok_or(TenantError::SlugNeeded)?;
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
    let memberships = store::list_for(&mut tx, identity).await?;
    tx.commit().await?;
    Ok(memberships)
}

/// One tenant, hidden from everybody but its members.
pub async fn get(db: &Db, identity: IdentityId, tenant: TenantId) -> Result<Membership, TenantError> {
    let mut tx = db.control().await?;
    let found = store::find_for(&mut tx, identity, tenant).await?;
    tx.commit().await?;
    found.ok_or(TenantError::NotFound)
}

/// How far the tenant's compartment is built; for its members.
pub async fn onboarding(db: &Db, identity: IdentityId, tenant: TenantId) -> Result<Vec<StepStatus>, TenantError> {
    let mut tx = db.control().await?;
    let membership = store::find_for(&mut tx, identity, tenant).await?;
    membership.ok_or(TenantError::NotFound)?;
    let steps = store::list_steps(&mut tx, tenant).await?;
    tx.commit().await?;
    Ok(steps)
}
