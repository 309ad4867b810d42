//! Carries what home has recorded about tenants that live in other clusters to where their logs are.
//!
//! A row stays at home until it waits in the cluster, and is recorded once however often it is carried: it keeps its id. While
//! a move has the tenant frozen it stays; where the tenant comes home it is in the right place already.

use bulkhead_kernel::ids::TenantId;
use bulkhead_tenancy::{Cluster, Db, DbError};
use tracing::instrument;

use crate::store;

/// Tenants looked for at once, and events of one tenant carried at once.
const BATCH: i64 = 200;

/// Carries everything that waits at home; a tenant whose cluster does not answer keeps no other one waiting.
pub async fn carry_all(db: &Db) -> Result<(), DbError> {
    if !db.has_clusters() {
        return Ok(());
    }
    let home = db.home();
    let mut tx = home.control().await?;
    let waiting = store::list_away(&mut tx, BATCH).await?;
    tx.commit().await?;
    let mut failed = Ok(());
    for (tenant, cluster) in waiting {
        failed = carry(&home, tenant, &Cluster::from(cluster.as_str())).await.and(failed);
    }
    failed
}

#[instrument(skip_all)]
async fn carry(home: &Db, tenant: TenantId, cluster: &Cluster) -> Result<(), DbError> {
    let mut tx = home.control().await?;
    let waiting = store::list_waiting(&mut tx, tenant, BATCH).await?;
    tx.commit().await?;
    let mut there = home.at(cluster)?.control().await?;
    let is_taken = store::insert_carried(&mut there, tenant, &waiting).await?;
    there.commit().await?;
    if !is_taken {
        return Ok(());
    }
    let mut tx = home.control().await?;
    store::delete_carried(&mut tx, &waiting).await?;
    tx.commit().await
}
