//! Rows of `control.placements`, and a cluster's own rows of `control.tenants`.

use bulkhead_kernel::ids::TenantId;
use bulkhead_tenancy::{Cluster, ControlTx, DbError, OwnerTx, SchemaName};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// What a cluster has to know of a tenant's state.
pub(crate) struct Word {
    status: String,
    suspension: Option<String>,
    former_status: Option<String>,
    former_suspension: Option<String>,
    purge_at: Option<DateTime<Utc>>,
    purge_started_at: Option<DateTime<Utc>>,
    frozen_by: Option<Uuid>,
    pub(crate) epoch: i64,
}

/// Places a tenant that is being made.
pub(crate) async fn insert(tx: &mut ControlTx, tenant: TenantId, cluster: &Cluster) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO control.placements (tenant_id, cluster)
        VALUES ($1, $2)
        "#,
        tenant.uuid(),
        cluster.as_str(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Where the tenant lives unless at home.
pub(crate) async fn find_cluster(tx: &mut OwnerTx, tenant: TenantId) -> Result<Option<String>, DbError> {
    let cluster = sqlx::query_scalar!(
        r#"
        SELECT cluster
        FROM control.placements
        WHERE tenant_id = $1
          AND cluster <> 'home'
        "#,
        tenant.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(cluster)
}

/// The state of a tenant that does not live at home, its placement kept from others until the transaction ends.
pub(crate) async fn lock_word(conn: &mut PgConnection, tenant: TenantId) -> Result<Option<(String, Word)>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT p.cluster,
               CASE WHEN p.state = 'frozen' THEN p.move_id END AS frozen_by,
               t.status,
               t.suspension,
               t.former_status,
               t.former_suspension,
               t.purge_at,
               t.purge_started_at,
               t.epoch
        FROM control.placements AS p
                 JOIN control.tenants AS t ON t.id = p.tenant_id
        WHERE p.tenant_id = $1
          AND p.cluster <> 'home'
            FOR NO KEY UPDATE OF p
        "#,
        tenant.uuid(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let word = Word {
            status: row.status,
            suspension: row.suspension,
            former_status: row.former_status,
            former_suspension: row.former_suspension,
            purge_at: row.purge_at,
            purge_started_at: row.purge_started_at,
            frozen_by: row.frozen_by,
            epoch: row.epoch,
        };
        (row.cluster, word)
    }))
}

/// Brings the cluster's own row there. `false` while it has none.
pub(crate) async fn tell(conn: &mut PgConnection, tenant: TenantId, word: &Word) -> Result<bool, DbError> {
    let done = sqlx::query!(
        r#"
        UPDATE control.tenants
        SET status            = $2,
            suspension        = $3,
            former_status     = $4,
            former_suspension = $5,
            purge_at          = $6,
            purge_started_at  = $7,
            frozen_by         = $8,
            epoch             = $9,
            updated_at        = now()
        WHERE id = $1
        "#,
        tenant.uuid(),
        word.status,
        word.suspension,
        word.former_status,
        word.former_suspension,
        word.purge_at,
        word.purge_started_at,
        word.frozen_by,
        word.epoch,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(crate) async fn set_told(conn: &mut PgConnection, tenant: TenantId, epoch: i64) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.placements
        SET epoch = $2
        WHERE tenant_id = $1
        "#,
        tenant.uuid(),
        epoch,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Tenants whose clusters have not been told of their newest state.
pub(crate) async fn list_behind(tx: &mut ControlTx, limit: i64) -> Result<Vec<TenantId>, DbError> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT p.tenant_id
        FROM control.placements AS p
                 JOIN control.tenants AS t ON t.id = p.tenant_id
        WHERE p.cluster <> 'home'
          AND p.epoch <> t.epoch
          AND t.status <> 'pending'
        LIMIT $1
        "#,
        limit,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(ids.into_iter().map(TenantId::from).collect())
}

/// The cluster's own row of a tenant, under a name made of its id. For a move it has an epoch that no router knows, so that
/// whoever is too early is sent back. Done before: nothing.
pub(crate) async fn insert_resident(
    there: &mut OwnerTx,
    tenant: TenantId,
    frozen_by: Option<Uuid>,
) -> Result<(), DbError> {
    let name = SchemaName::from(tenant).to_string().replace('_', "");
    sqlx::query!(
        r#"
        INSERT INTO control.tenants (id, slug, name, frozen_by, status, epoch)
        SELECT $1, $2, $2, $3, CASE WHEN $3::uuid IS NULL THEN 'pending' ELSE 'active' END, CASE WHEN $3 IS NULL THEN 1 ELSE 0 END
        ON CONFLICT (id) DO NOTHING
        "#,
        tenant.uuid(),
        name,
        frozen_by,
    )
    .execute(there.conn())
    .await?;
    Ok(())
}

/// The shard that the tenant has in its cluster, and the version of its schema.
pub(crate) async fn find_resident(
    there: &mut OwnerTx,
    tenant: TenantId,
) -> Result<Option<(Option<i16>, Option<i64>)>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT shard, schema_version
        FROM control.tenants
        WHERE id = $1
        "#,
        tenant.uuid(),
    )
    .fetch_optional(there.conn())
    .await?;
    Ok(row.map(|row| (row.shard, row.schema_version)))
}

/// Writes down at home which shard the tenant has in its cluster.
pub(crate) async fn set_shard(tx: &mut OwnerTx, tenant: TenantId, shard: Option<i16>) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.placements
        SET shard = $2
        WHERE tenant_id = $1
        "#,
        tenant.uuid(),
        shard,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The cluster forgets the tenant.
pub(crate) async fn delete_resident(there: &mut OwnerTx, tenant: TenantId) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        DELETE
        FROM control.tenants
        WHERE id = $1
        "#,
        tenant.uuid(),
    )
    .execute(there.conn())
    .await?;
    Ok(())
}
