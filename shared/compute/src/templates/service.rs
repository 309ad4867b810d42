//! Showing and publishing templates.

use bulkhead_iam::{Scope, permissions::Permission};
use bulkhead_tenancy::{Db, DbError};

use super::{NewTemplate, Template, seeds, store};
use crate::vms::VmError;

/// What the tenant can make VMs from.
pub async fn list(scope: &Scope, db: &Db) -> Result<Vec<Template>, VmError> {
    scope.require(Permission::VmRead)?;
    let mut tx = db.tenant(scope.tenant.id).await?;
    let templates = store::list(&mut tx).await?;
    tx.commit().await?;
    Ok(templates)
}

/// Publishes for all tenants. `false` when this name and version already is, which changes nothing.
pub async fn publish(db: &Db, new: &NewTemplate) -> Result<bool, DbError> {
    let mut tx = db.control().await?;
    let is_new = store::insert(&mut tx, new).await?;
    tx.commit().await?;
    Ok(is_new)
}

/// Publishes what every installation starts with; gives how many were missing.
pub async fn seed(db: &Db) -> Result<usize, DbError> {
    let mut published = 0;
    for new in seeds() {
        published += usize::from(publish(db, &new).await?);
    }
    Ok(published)
}

/// Brings what is published at home to the cluster of `db`, under the same ids. Nothing to do at home itself.
pub async fn follow(db: &Db) -> Result<(), DbError> {
    if db.cluster().is_home() {
        return Ok(());
    }
    let mut home = db.home().control().await?;
    let published = store::list_rows(&mut home).await?;
    home.commit().await?;
    let mut tx = db.control().await?;
    store::put_rows(&mut tx, &published).await?;
    tx.commit().await
}
