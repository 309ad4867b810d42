//! Rows of `control.purge_steps` and `control.purge_receipts`.

use bulkhead_kernel::{
    ids::{IdentityId, ReceiptId, TenantId},
    page::{Page, PageRequest},
};
use bulkhead_tenancy::{ControlTx, DbError, OwnerTx, TableRows};
use serde_json::{Map, Value};

use super::{Receipt, model::Deletion};

/// Tenants whose grace is over and whose next step is worth a look, the longest waiting first.
pub(crate) async fn list_due(tx: &mut ControlTx, limit: i64) -> Result<Vec<TenantId>, DbError> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT t.id
        FROM control.tenants AS t
        WHERE t.status = 'deleting'
          AND t.purge_at <= now()
          AND NOT EXISTS (SELECT
                          FROM control.purge_steps AS s
                          WHERE s.tenant_id = t.id
                            AND NOT s.is_done
                            AND s.due_at > now())
          AND NOT EXISTS (SELECT
                          FROM control.moves AS m
                          WHERE m.tenant_id = t.id
                            AND m.finished_at IS NULL)
        ORDER BY t.purge_at
        LIMIT $1
        "#,
        limit,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(ids.into_iter().map(TenantId::from).collect())
}

/// Closes the way back, unless it was taken meanwhile. `true` only the first time.
pub(super) async fn set_started(tx: &mut OwnerTx, tenant: TenantId) -> Result<bool, DbError> {
    let started = sqlx::query!(
        r#"
        UPDATE control.tenants
        SET purge_started_at = now(), epoch = epoch + 1, updated_at = now()
        WHERE id = $1
          AND status = 'deleting'
          AND purge_at <= now()
          AND purge_started_at IS NULL
        "#,
        tenant.uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(started.rows_affected() == 1)
}

pub(super) async fn insert_steps(tx: &mut OwnerTx, tenant: TenantId, names: &[String]) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO control.purge_steps (tenant_id, position, name)
        SELECT $1, step.position, step.name
        FROM unnest($2::text[]) WITH ORDINALITY AS step (name, position)
        ON CONFLICT DO NOTHING
        "#,
        tenant.uuid(),
        names,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Keeps the step to this transaction and tells whether it is done; `None` when the tenant is gone.
pub(super) async fn lock_step(tx: &mut OwnerTx, tenant: TenantId, name: &str) -> Result<Option<bool>, DbError> {
    let is_done = sqlx::query_scalar!(
        r#"
        SELECT is_done
        FROM control.purge_steps
        WHERE tenant_id = $1
          AND name = $2
            FOR UPDATE
        "#,
        tenant.uuid(),
        name,
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(is_done)
}

/// Adds what a piece removed to what the step has removed so far.
pub(super) async fn add_removed(
    tx: &mut OwnerTx,
    tenant: TenantId,
    name: &str,
    removed: &[TableRows],
    is_done: bool,
) -> Result<(), DbError> {
    let removed: Map<String, Value> = removed
        .iter()
        .map(|table| (table.table.clone(), table.rows.into()))
        .collect();
    sqlx::query!(
        r#"
        UPDATE control.purge_steps AS s
        SET removed     = (SELECT coalesce(jsonb_object_agg(sum.key, sum.rows), '{}')
                           FROM (SELECT each.key, sum(each.value::bigint) AS rows
                                 FROM (SELECT key, value FROM jsonb_each_text(s.removed)
                                       UNION ALL
                                       SELECT key, value FROM jsonb_each_text($3)) AS each
                                 GROUP BY each.key) AS sum),
            is_done     = $4,
            failures    = 0,
            last_error  = NULL,
            finished_at = CASE WHEN $4 THEN clock_timestamp() END
        WHERE tenant_id = $1
          AND name = $2
        "#,
        tenant.uuid(),
        name,
        Value::Object(removed),
        is_done,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Looks at the step again in a second.
pub(super) async fn put_off(tx: &mut OwnerTx, tenant: TenantId, name: &str) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.purge_steps
        SET due_at = now() + interval '1 second', failures = 0, last_error = NULL
        WHERE tenant_id = $1
          AND name = $2
        "#,
        tenant.uuid(),
        name,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Looks at the step again after a wait that doubles with each failure, up to about a minute.
pub(super) async fn set_failed(tx: &mut OwnerTx, tenant: TenantId, name: &str, error: &str) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.purge_steps
        SET failures = failures + 1, last_error = $3, due_at = now() + interval '1 second' * (1 << least(failures, 6))
        WHERE tenant_id = $1
          AND name = $2
          AND NOT is_done
        "#,
        tenant.uuid(),
        name,
        error,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// What all steps removed; a table may be named by more than one.
pub(super) async fn list_removed(tx: &mut OwnerTx, tenant: TenantId) -> Result<Vec<TableRows>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT each.key AS "table!", each.value::bigint AS "rows!"
        FROM control.purge_steps AS s
                 CROSS JOIN jsonb_each_text(s.removed) AS each
        WHERE s.tenant_id = $1
        "#,
        tenant.uuid(),
    )
    .fetch_all(tx.conn())
    .await?;
    let removed = rows.into_iter().map(|row| TableRows {
        table: row.table,
        rows: row.rows,
    });
    Ok(removed.collect())
}

/// Who asked for the deletion, and why.
pub(super) async fn get_deletion(tx: &mut OwnerTx, tenant: TenantId) -> Result<Deletion, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT slug, delete_asked_by, delete_asked_at, state_reason, purge_started_at
        FROM control.tenants
        WHERE id = $1
            FOR UPDATE
        "#,
        tenant.uuid(),
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(Deletion {
        slug: row.slug,
        asked_by: row.delete_asked_by.map(IdentityId::from),
        asked_at: row.delete_asked_at,
        reason: row.state_reason,
        began_at: row.purge_started_at,
    })
}

pub(super) async fn insert_receipt(
    tx: &mut OwnerTx,
    id: ReceiptId,
    tenant: TenantId,
    jws: &str,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO control.purge_receipts (id, tenant_id, jws)
        VALUES ($1, $2, $3)
        "#,
        id.uuid(),
        tenant.uuid(),
        jws,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The registry forgets the tenant; its slug is free. Steps and memberships go with it.
pub(super) async fn delete_tenant(tx: &mut OwnerTx, tenant: TenantId) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        DELETE
        FROM control.tenants
        WHERE id = $1
          AND purge_started_at IS NOT NULL
        "#,
        tenant.uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn find_receipt(tx: &mut ControlTx, id: ReceiptId) -> Result<Option<Receipt>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT id, tenant_id, jws, created_at
        FROM control.purge_receipts
        WHERE id = $1
        "#,
        id.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| Receipt {
        id: row.id.into(),
        tenant: row.tenant_id.into(),
        jws: row.jws,
        created_at: row.created_at,
    }))
}

pub(super) async fn list_receipts(
    tx: &mut ControlTx,
    tenant: Option<TenantId>,
    page: PageRequest,
) -> Result<Page<Receipt>, DbError> {
    let total = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "total!"
        FROM control.purge_receipts
        WHERE $1::uuid IS NULL
           OR tenant_id = $1
        "#,
        tenant.map(TenantId::uuid),
    )
    .fetch_one(tx.conn())
    .await?;
    let rows = sqlx::query!(
        r#"
        SELECT id, tenant_id, jws, created_at
        FROM control.purge_receipts
        WHERE $1::uuid IS NULL
           OR tenant_id = $1
        ORDER BY id DESC
        LIMIT $2 OFFSET $3
        "#,
        tenant.map(TenantId::uuid),
        i64::from(page.limit()),
        page.offset(),
    )
    .fetch_all(tx.conn())
    .await?;
    let items = rows.into_iter().map(|row| Receipt {
        id: row.id.into(),
        tenant: row.tenant_id.into(),
        jws: row.jws,
        created_at: row.created_at,
    });
    Ok(Page {
        items: items.collect(),
        total,
        request: page,
    })
}
