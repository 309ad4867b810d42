//! What can be asked of clusters' capacity.

use std::time::Duration;

use bulkhead_kernel::telemetry::metrics;
use bulkhead_tenancy::{Cluster, ControlTx, Db, DbError};

use super::{ClusterUse, model, store};
use crate::TenantError;

/// How old a measurement becomes before the next.
pub const EVERY: Duration = Duration::from_mins(1);

/// Measures the clusters that nobody has measured for `every`, and brings the gauges to what is known of all. A cluster that
/// does not answer keeps its figures.
pub async fn measure(db: &Db, every: Duration) -> Result<(), DbError> {
    for cluster in db.clusters() {
        if let Err(error) = measure_one(&cluster, every).await {
            tracing::warn!(
                cluster = cluster.cluster().as_str(),
                error = &error as &dyn std::error::Error,
                "a cluster was not measured"
            );
        }
    }
    for known in list(db).await? {
        show(&known);
    }
    Ok(())
}

/// The claim is committed before: measuring takes longer than a look at a row.
async fn measure_one(db: &Db, every: Duration) -> Result<(), DbError> {
    let mut tx = db.home().control().await?;
    let is_due = store::claim(&mut tx, db.cluster(), every).await?;
    tx.commit().await?;
    if is_due {
        let mut there = db.control().await?;
        let used = store::measure(&mut there).await?;
        there.commit().await?;
        let mut tx = db.home().control().await?;
        store::set(&mut tx, db.cluster(), used).await?;
        tx.commit().await?;
    }
    Ok(())
}

fn show(known: &ClusterUse) {
    for level in known.levels {
        let (cluster, cap) = (known.cluster.as_str(), level.cap.as_str());
        #[expect(clippy::cast_precision_loss, reason = "gauges are floating")]
        metrics::cluster_used(cluster, cap).set(level.used as f64);
        if let (Some(limit), Some(ratio)) = (level.limit, level.ratio()) {
            #[expect(clippy::cast_precision_loss, reason = "gauges are floating")]
            metrics::cluster_cap(cluster, cap).set(limit as f64);
            metrics::cluster_used_ratio(cluster, cap).set(ratio);
        }
    }
}

/// All clusters of the settings, home first, as they were last measured.
pub async fn list(db: &Db) -> Result<Vec<ClusterUse>, DbError> {
    let mut tx = db.home().control().await?;
    let known = list_in(&mut tx, db).await?;
    tx.commit().await?;
    Ok(known)
}

async fn list_in(home: &mut ControlTx, db: &Db) -> Result<Vec<ClusterUse>, DbError> {
    let measured = store::list(home).await?;
    let clusters = db.clusters().map(|db| {
        let known = measured.iter().find(|known| known.0 == *db.cluster());
        let measured = known.and_then(|known| known.1);
        ClusterUse::new(db.cluster().clone(), &db.caps(), measured)
    });
    Ok(clusters.collect())
}

/// Where a new tenant goes: where the settings want it, else to the cluster that is the least full. Refused when none has
/// room, for what the wanted one is full of.
pub(crate) async fn choose(home: &mut ControlTx, db: &Db) -> Result<Cluster, TenantError> {
    let wanted = db.new_tenants_cluster().unwrap_or_else(Cluster::home);
    let known = list_in(home, db).await?;
    model::choose(known, wanted).map_err(TenantError::ClusterFull)
}

/// Refuses where this cluster takes no new tenants.
pub(crate) async fn require_room(home: &mut ControlTx, db: &Db, cluster: &Cluster) -> Result<(), TenantError> {
    let known = list_in(home, db).await?;
    let full = known.iter().find(|known| known.cluster == *cluster);
    full.and_then(ClusterUse::full)
        .map_or(Ok(()), |full| Err(TenantError::ClusterFull(full)))
}
