//! Rows of `control.cluster_use`, and what they are measured from.

use std::time::Duration;

use bulkhead_tenancy::{Cluster, ControlTx, DbError};
use chrono::{DateTime, Utc};

use super::model::Used;

/// Takes it on to measure the cluster. `false` when somebody did within `every`.
pub(super) async fn claim(home: &mut ControlTx, cluster: &Cluster, every: Duration) -> Result<bool, DbError> {
    let done = sqlx::query!(
        r#"
        INSERT INTO control.cluster_use AS u (cluster, looked_at)
        VALUES ($1, now())
        ON CONFLICT (cluster) DO UPDATE
            SET looked_at = now()
            WHERE u.looked_at <= now() - make_interval(secs => $2)
        "#,
        cluster.as_str(),
        every.as_secs_f64(),
    )
    .execute(home.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What there is of each in the cluster where the transaction is. Counted in the catalog itself: the views of
/// `information_schema` ask for the rights on every row.
pub(super) async fn measure(there: &mut ControlTx) -> Result<Used, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT (SELECT count(*)
                FROM control.tenants AS t
                WHERE NOT EXISTS (SELECT
                                  FROM control.placements AS p
                                  WHERE p.tenant_id = t.id
                                    AND p.cluster <> 'home')) AS "n_tenants!",
               (SELECT count(*) FROM pg_catalog.pg_class) AS "n_relations!",
               pg_catalog.pg_database_size(pg_catalog.current_database()) / 1048576 AS "size_mb!",
               (SELECT coalesce(sum(s.numbackends), 0) FROM pg_catalog.pg_stat_database AS s) AS "n_connections!"
        "#,
    )
    .fetch_one(there.conn())
    .await?;
    Ok([row.n_tenants, row.n_relations, row.size_mb, row.n_connections])
}

pub(super) async fn set(
    home: &mut ControlTx,
    cluster: &Cluster,
    [n_tenants, n_relations, size_mb, n_connections]: Used,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.cluster_use
        SET measured_at   = now(),
            n_tenants     = $2,
            n_relations   = $3,
            size_mb       = $4,
            n_connections = $5
        WHERE cluster = $1
        "#,
        cluster.as_str(),
        n_tenants,
        n_relations,
        size_mb,
        n_connections,
    )
    .execute(home.conn())
    .await?;
    Ok(())
}

/// What is known of each cluster, once it was measured.
pub(super) async fn list(home: &mut ControlTx) -> Result<Vec<(Cluster, Option<(DateTime<Utc>, Used)>)>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT cluster, measured_at, n_tenants, n_relations, size_mb, n_connections
        FROM control.cluster_use
        "#,
    )
    .fetch_all(home.conn())
    .await?;
    let rows = rows.into_iter().map(|row| {
        let used = [row.n_tenants, row.n_relations, row.size_mb, row.n_connections];
        (
            Cluster::from(row.cluster.as_str()),
            row.measured_at.map(|at| (at, used)),
        )
    });
    Ok(rows.collect())
}
