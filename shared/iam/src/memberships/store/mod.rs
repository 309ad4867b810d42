//! Rows of `control.memberships`.

pub(super) mod outbox;

use bulkhead_kernel::ids::{IdentityId, TenantId};
use bulkhead_tenancy::{ControlTx, DbError};

use super::Membership;
use crate::permissions::SystemRole;

pub(super) async fn insert(
    tx: &mut ControlTx,
    identity: IdentityId,
    tenant: TenantId,
    role: SystemRole,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO control.memberships (identity_id, tenant_id, role)
        VALUES ($1, $2, $3)
        "#,
        identity.uuid(),
        tenant.uuid(),
        role.as_str(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

pub(super) async fn find(
    tx: &mut ControlTx,
    identity: IdentityId,
    tenant: Option<TenantId>,
    slug: Option<&str>,
) -> Result<Option<Membership>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT t.id, t.status = 'active' OR t.suspension IS NOT DISTINCT FROM 'read_only' AS "is_open!"
        FROM control.memberships AS m
                 JOIN control.tenants AS t ON t.id = m.tenant_id
        WHERE m.identity_id = $1
          AND m.status = 'active'
          AND (t.id = $2 OR t.slug = $3)
        "#,
        identity.uuid(),
        tenant.map(TenantId::uuid),
        slug,
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| Membership {
        tenant: row.id.into(),
        is_open: row.is_open,
    }))
}

/// Up to `limit` tenants that the person can enter now.
pub(super) async fn list_open(tx: &mut ControlTx, identity: IdentityId, limit: i64) -> Result<Vec<TenantId>, DbError> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT t.id
        FROM control.memberships AS m
                 JOIN control.tenants AS t ON t.id = m.tenant_id
        WHERE m.identity_id = $1
          AND m.status = 'active'
          AND (t.status = 'active' OR t.suspension = 'read_only')
        LIMIT $2
        "#,
        identity.uuid(),
        limit,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(ids.into_iter().map(TenantId::from).collect())
}

/// All tenants that the person belongs to, whatever state they are in.
pub(super) async fn list_all(tx: &mut ControlTx, identity: IdentityId) -> Result<Vec<TenantId>, DbError> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT tenant_id
        FROM control.memberships
        WHERE identity_id = $1
        "#,
        identity.uuid(),
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(ids.into_iter().map(TenantId::from).collect())
}
