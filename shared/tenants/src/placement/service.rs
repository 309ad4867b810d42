//! What can be done with placements.

use std::error::Error;

use bulkhead_kernel::{ids::TenantId, telemetry::fields};
use bulkhead_tenancy::{Cluster, Db, DbError, OwnerTx};

use super::store;

/// Tenants told of in one sweep.
const BATCH: i64 = 100;

/// Tells the tenant's cluster what the tenant's state is. Nothing to do for one that lives at home. Two at a time wait for
/// each other, so that the last word is the newest.
pub async fn follow(db: &Db, tenant: TenantId) -> Result<(), DbError> {
    if !db.has_clusters() {
        return Ok(());
    }
    let mut tx = db.home().control().await?;
    let Some((cluster, word)) = store::lock_word(tx.conn(), tenant).await? else {
        return tx.commit().await;
    };
    let mut there = db.at(&Cluster::from(cluster.as_str()))?.control().await?;
    let is_there = store::tell(there.conn(), tenant, &word).await?;
    there.commit().await?;
    if is_there {
        store::set_told(tx.conn(), tenant, word.epoch).await?;
    }
    tx.commit().await
}

/// [`follow`] for who has committed the change already: a failure is left to the sweep.
pub(crate) async fn follow_soon(db: &Db, tenant: TenantId) {
    if let Err(error) = follow(db, tenant).await {
        tracing::warn!(
            { fields::TENANT_ID } = %tenant,
            error = &error as &dyn Error,
            "a cluster was not told of a tenant's state yet"
        );
    }
}

/// Tells all clusters what they have not been told yet.
pub async fn follow_all(db: &Db) -> Result<(), DbError> {
    if !db.has_clusters() {
        return Ok(());
    }
    let mut tx = db.home().control().await?;
    let behind = store::list_behind(&mut tx, BATCH).await?;
    tx.commit().await?;
    for tenant in behind {
        follow_soon(db, tenant).await;
    }
    Ok(())
}

/// The cluster of a tenant that does not live at home; `tx` is at home.
pub(crate) async fn elsewhere(db: &Db, tx: &mut OwnerTx, tenant: TenantId) -> Result<Option<Db>, DbError> {
    let cluster = store::find_cluster(tx, tenant).await?;
    cluster.map(|name| db.at(&Cluster::from(name.as_str()))).transpose()
}

/// [`follow`] before `tx`, at home, commits what it has changed: the cluster is ready when home is. Should home not commit,
/// the cluster has an epoch that no router knows.
pub(crate) async fn lead(tx: &mut OwnerTx, there: &mut OwnerTx, tenant: TenantId) -> Result<(), DbError> {
    if let Some((_, word)) = store::lock_word(tx.conn(), tenant).await? {
        store::tell(there.conn(), tenant, &word).await?;
        store::set_told(tx.conn(), tenant, word.epoch).await?;
    }
    Ok(())
}
