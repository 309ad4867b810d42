//! What can be done with roles.

use bulkhead_tenancy::{DbError, OwnerTx};

use super::store;

/// Gives the tenant whose schema the transaction has entered the system roles with the permissions of this release. Done
/// before: what is missing is added, what a release has taken away goes.
pub async fn seed(tx: &mut OwnerTx) -> Result<(), DbError> {
    store::upsert_system_roles(tx).await?;
    store::insert_system_permissions(tx).await?;
    store::delete_retired_permissions(tx).await
}
