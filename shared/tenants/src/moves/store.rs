//! Rows of `control.moves`, and what a move changes in those of `control.placements` and `control.tenants`.

use bulkhead_kernel::ids::{MoveId, TenantId};
use bulkhead_tenancy::{Cluster, ControlTx, DbError, OwnerTx};

use super::{Move, MoveState};

/// Where the tenant lives, its placement kept from others until the transaction ends.
pub(super) async fn find_place(tx: &mut ControlTx, tenant: TenantId) -> Result<Cluster, DbError> {
    let cluster = sqlx::query_scalar!(
        r#"
        SELECT cluster
        FROM control.placements
        WHERE tenant_id = $1
            FOR UPDATE
        "#,
        tenant.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(cluster.map_or_else(Cluster::home, |name| Cluster::from(name.as_str())))
}

pub(super) async fn insert(
    tx: &mut ControlTx,
    id: MoveId,
    tenant: TenantId,
    (from, to): (&Cluster, &Cluster),
    by: &str,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO control.moves (id, tenant_id, from_cluster, to_cluster, requested_by)
        VALUES ($1, $2, $3, $4, $5)
        "#,
        id.uuid(),
        tenant.uuid(),
        from.as_str(),
        to.as_str(),
        by,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn set_moving(
    tx: &mut ControlTx,
    id: MoveId,
    tenant: TenantId,
    from: &Cluster,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO control.placements (tenant_id, cluster, state, move_id)
        VALUES ($1, $2, 'moving', $3)
        ON CONFLICT (tenant_id) DO UPDATE SET state = 'moving', move_id = EXCLUDED.move_id
        "#,
        tenant.uuid(),
        from.as_str(),
        id.uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The move; of this tenant alone where one is named.
pub(super) async fn get(tx: &mut ControlTx, id: MoveId, tenant: Option<TenantId>) -> Result<Option<Move>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT id, tenant_id, from_cluster, to_cluster, state, error, schema_version, n_tables, n_rows, n_bytes, n_freezes,
               created_at, frozen_at, thawed_at, finished_at
        FROM control.moves
        WHERE id = $1
          AND ($2::uuid IS NULL OR tenant_id = $2)
        "#,
        id.uuid(),
        tenant.map(TenantId::uuid),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| Move {
        id: row.id.into(),
        tenant: row.tenant_id.into(),
        from: Cluster::from(row.from_cluster.as_str()),
        to: Cluster::from(row.to_cluster.as_str()),
        state: MoveState::parse(&row.state),
        error: row.error,
        schema_version: row.schema_version,
        n_tables: row.n_tables,
        n_rows: row.n_rows,
        n_bytes: row.n_bytes,
        n_freezes: row.n_freezes,
        created_at: row.created_at,
        frozen_at: row.frozen_at,
        thawed_at: row.thawed_at,
        finished_at: row.finished_at,
    }))
}

pub(super) async fn list_open(tx: &mut ControlTx) -> Result<Vec<MoveId>, DbError> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT id
        FROM control.moves
        WHERE finished_at IS NULL
        "#,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(ids.into_iter().map(MoveId::from).collect())
}

/// `false` when it has switched, or ended.
pub(super) async fn set_aborting(
    tx: &mut ControlTx,
    id: MoveId,
    tenant: Option<TenantId>,
    why: &str,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        r#"
        UPDATE control.moves
        SET state = 'aborting', error = $3
        WHERE id = $1
          AND ($2::uuid IS NULL OR tenant_id = $2)
          AND state IN ('preparing', 'copying', 'verifying', 'catching_up', 'freezing', 'switching')
        "#,
        id.uuid(),
        tenant.map(TenantId::uuid),
        why,
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn set_error(tx: &mut ControlTx, id: MoveId, why: &str) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.moves
        SET error = $2
        WHERE id = $1
          AND finished_at IS NULL
        "#,
        id.uuid(),
        why,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// From one step to the next; [`DbError::LeaseLost`] when the move is no longer where this worker thinks.
pub(super) async fn advance(tx: &mut OwnerTx, moved: &Move, next: MoveState) -> Result<(), DbError> {
    let done = sqlx::query!(
        r#"
        UPDATE control.moves
        SET state       = $3,
            finished_at = CASE WHEN $3 IN ('done', 'aborted') THEN clock_timestamp() END
        WHERE id = $1
          AND state = $2
        "#,
        moved.id.uuid(),
        moved.state.as_str(),
        next.as_str(),
    )
    .execute(tx.conn())
    .await?;
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(DbError::LeaseLost)
    }
}

pub(super) async fn set_schema_version(tx: &mut OwnerTx, id: MoveId, version: i64) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.moves
        SET schema_version = $2
        WHERE id = $1
        "#,
        id.uuid(),
        version,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// What was copied.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Copied {
    pub(super) tables: i32,
    pub(super) rows: i64,
    pub(super) bytes: i64,
}

pub(super) async fn set_copied(tx: &mut OwnerTx, id: MoveId, copied: Copied) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.moves
        SET n_tables = $2, n_rows = $3, n_bytes = $4
        WHERE id = $1
        "#,
        id.uuid(),
        copied.tables,
        copied.rows,
        copied.bytes,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The row of a tenant that is at home, for a move that needs it as it is. Asked again: nothing.
pub(super) async fn mark_home(tx: &mut OwnerTx, moved: &Move) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.tenants
        SET frozen_by = $2
        WHERE id = $1
          AND frozen_by IS DISTINCT FROM $2
        "#,
        moved.tenant.uuid(),
        moved.id.uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The row that stands for the tenant's half in a cluster other than home, made new or taken over from a move that died.
pub(super) async fn mark_resident(there: &mut OwnerTx, moved: &Move) -> Result<(), DbError> {
    crate::placement::store::insert_resident(there, moved.tenant, Some(moved.id.uuid())).await?;
    mark_home(there, moved).await
}

/// No change of the tenant begins any more, once its cluster has been told. Asked again: nothing.
pub(super) async fn freeze(tx: &mut OwnerTx, moved: &Move) -> Result<(), DbError> {
    let frozen = sqlx::query!(
        r#"
        WITH frozen AS (
            UPDATE control.placements
            SET state = 'frozen'
            WHERE tenant_id = $1
              AND move_id = $2
              AND state = 'moving'
            RETURNING tenant_id, cluster
        ), told AS (
            UPDATE control.moves
            SET frozen_at = clock_timestamp()
            WHERE id = $2
              AND frozen_at IS NULL
        )
        UPDATE control.tenants AS t
        SET epoch     = t.epoch + 1,
            frozen_by = CASE WHEN f.cluster = 'home' THEN $2 ELSE t.frozen_by END
        FROM frozen AS f
        WHERE t.id = f.tenant_id
        "#,
        moved.tenant.uuid(),
        moved.id.uuid(),
    )
    .execute(tx.conn())
    .await?;
    tracing::debug!(move.id = %moved.id, is_new = frozen.rows_affected() == 1, "a tenant is frozen");
    Ok(())
}

/// What has frozen the tenant lets it go for another while, once its cluster has been told.
pub(super) async fn unfreeze(tx: &mut OwnerTx, moved: &Move) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        WITH thawed AS (
            UPDATE control.placements
            SET state = 'moving'
            WHERE tenant_id = $1
              AND move_id = $2
              AND state = 'frozen'
            RETURNING tenant_id, cluster
        ), told AS (
            UPDATE control.moves
            SET frozen_at = NULL, n_freezes = n_freezes + 1
            WHERE id = $2
        )
        UPDATE control.tenants AS t
        SET epoch     = t.epoch + 1,
            frozen_by = CASE WHEN w.cluster = 'home' THEN NULL ELSE t.frozen_by END
        FROM thawed AS w
        WHERE t.id = w.tenant_id
        "#,
        moved.tenant.uuid(),
        moved.id.uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The jobs of the tenant that run in this moment, and the machines that are held.
pub(super) async fn count_busy(there: &mut OwnerTx, tenant: TenantId) -> Result<i64, DbError> {
    let busy = sqlx::query_scalar!(
        r#"
        SELECT (SELECT count(*) FROM control.jobs WHERE tenant_id = $1 AND state = 'running')
                   + (SELECT count(*) FROM control.vm_work WHERE tenant_id = $1 AND lease_until > now()) AS "busy!"
        "#,
        tenant.uuid(),
    )
    .fetch_one(there.conn())
    .await?;
    Ok(busy)
}

/// Lets nobody into a half that is about to be left: no router has this epoch.
pub(super) async fn close(there: &mut OwnerTx, moved: &Move) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.tenants
        SET epoch = 0
        WHERE id = $1
          AND frozen_by = $2
        "#,
        moved.tenant.uuid(),
        moved.id.uuid(),
    )
    .execute(there.conn())
    .await?;
    Ok(())
}

/// The switch at home: the tenant's place and epoch.
pub(super) async fn switch(tx: &mut OwnerTx, moved: &Move, shard: Option<i16>) -> Result<(), DbError> {
    let (from_home, to_home) = (moved.from.is_home(), moved.to.is_home());
    sqlx::query!(
        r#"
        WITH switched AS (
            UPDATE control.placements
            SET cluster = $3, shard = $4, state = 'active', move_id = NULL, epoch = 0
            WHERE tenant_id = $1
              AND move_id = $2
            RETURNING tenant_id
        )
        UPDATE control.tenants AS t
        SET epoch          = t.epoch + 1,
            shard          = CASE WHEN $5 THEN NULL ELSE t.shard END,
            schema_version = CASE WHEN $5 THEN NULL ELSE t.schema_version END,
            frozen_by      = CASE WHEN $6 THEN NULL ELSE t.frozen_by END,
            updated_at     = now()
        FROM switched AS s
        WHERE t.id = s.tenant_id
        "#,
        moved.tenant.uuid(),
        moved.id.uuid(),
        moved.to.as_str(),
        shard.filter(|_| !to_home),
        from_home,
        to_home,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn set_thawed(tx: &mut OwnerTx, id: MoveId) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.moves
        SET thawed_at = clock_timestamp()
        WHERE id = $1
          AND frozen_at IS NOT NULL
          AND thawed_at IS NULL
        "#,
        id.uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The tenant stays where it is, and may be changed again once its cluster has been told. Asked again: nothing.
pub(super) async fn thaw(tx: &mut OwnerTx, moved: &Move) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        WITH thawed AS (
            UPDATE control.placements
            SET state = 'active', move_id = NULL
            WHERE tenant_id = $1
              AND move_id = $2
            RETURNING tenant_id, cluster
        )
        UPDATE control.tenants AS t
        SET epoch     = t.epoch + 1,
            frozen_by = CASE WHEN w.cluster = 'home' THEN NULL ELSE t.frozen_by END
        FROM thawed AS w
        WHERE t.id = w.tenant_id
        "#,
        moved.tenant.uuid(),
        moved.id.uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Home has no half of the tenant any more, or never got one whole.
pub(super) async fn clear_home(tx: &mut OwnerTx, moved: &Move) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.tenants
        SET shard = NULL, schema_version = NULL, frozen_by = NULL
        WHERE id = $1
          AND frozen_by = $2
        "#,
        moved.tenant.uuid(),
        moved.id.uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
