//! What can be done with members of an archive, in the schema of the tenant that is being made of it.

use bulkhead_kernel::ids::{IdentityId, TenantId};
use bulkhead_tenancy::{DbError, OwnerTx};

use super::{Person, store};
use crate::{api_keys, members, permissions::SystemRole};

/// Finds or makes the identities of these people and makes them members of the tenant whose schema the transaction has
/// entered. Two people who are one here break `memberships_pkey`.
pub async fn relink(tx: &mut OwnerTx, tenant: TenantId, people: &[Person]) -> Result<(), DbError> {
    if people.is_empty() {
        return Ok(());
    }
    store::insert_unknown(tx, people).await?;
    let found = store::find_links(tx, people).await?;
    store::set_member_ids(tx, &found).await?;
    store::insert_memberships(tx, tenant, people, &found).await
}

/// Members who were not linked stay in the data and cannot enter. Neither does any API key, which names another tenant.
pub async fn close_others(tx: &mut OwnerTx, tenant: TenantId) -> Result<(), DbError> {
    api_keys::service::close_imported(tx).await?;
    store::set_unlinked_inactive(tx, tenant).await
}

/// Makes this person of ours the tenant's owner, also where the archive already knows the address or the id.
pub async fn install_owner(tx: &mut OwnerTx, tenant: TenantId, owner: IdentityId) -> Result<(), DbError> {
    let links = store::find_namesake(tx, owner).await?;
    store::set_member_ids(tx, &links).await?;
    members::service::add_owner(tx, owner).await?;
    store::set_active(tx, owner).await?;
    store::upsert_membership(tx, tenant, owner, SystemRole::Owner).await
}
