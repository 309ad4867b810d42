//! Rows of `control.support_access`.

use bulkhead_kernel::{
    ids::{IdentityId, SessionId, SupportAccessId, TenantId},
    page::{Page, PageRequest},
};
use bulkhead_tenancy::{ControlTx, DbError};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{LiveAccess, SupportAccess, Wanted};

struct Row {
    id: Uuid,
    tenant_id: Uuid,
    operator_id: Uuid,
    email: String,
    reason: String,
    can_write: bool,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    ended_by: Option<String>,
}

impl From<Row> for SupportAccess {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            tenant: row.tenant_id.into(),
            operator: row.operator_id.into(),
            email: row.email,
            reason: row.reason,
            can_write: row.can_write,
            created_at: row.created_at,
            expires_at: row.expires_at,
            ended_at: row.ended_at,
            ended_by: row.ended_by,
        }
    }
}

pub(super) async fn insert(
    tx: &mut ControlTx,
    tenant: TenantId,
    operator: IdentityId,
    wanted: &Wanted,
    now: DateTime<Utc>,
) -> Result<SupportAccessId, DbError> {
    let id = SupportAccessId::new();
    sqlx::query!(
        r#"
        INSERT INTO control.support_access (id, tenant_id, operator_id, reason, can_write, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        "#,
        id.uuid(),
        tenant.uuid(),
        operator.uuid(),
        wanted.reason,
        wanted.can_write,
        now,
        now + wanted.lifetime,
    )
    .execute(tx.conn())
    .await?;
    Ok(id)
}

/// One page of the ways into a tenant, the newest first.
pub(super) async fn list(
    tx: &mut ControlTx,
    tenant: TenantId,
    page: PageRequest,
) -> Result<Page<SupportAccess>, DbError> {
    let total = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "total!"
        FROM control.support_access
        WHERE tenant_id = $1
        "#,
        tenant.uuid(),
    )
    .fetch_one(tx.conn())
    .await?;
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT a.id,
               a.tenant_id,
               a.operator_id,
               i.email,
               a.reason,
               a.can_write,
               a.created_at,
               a.expires_at,
               a.ended_at,
               a.ended_by
        FROM control.support_access AS a
                 JOIN control.identities AS i ON i.id = a.operator_id
        WHERE a.tenant_id = $1
        ORDER BY a.created_at DESC, a.id DESC
        LIMIT $2 OFFSET $3
        "#,
        tenant.uuid(),
        i64::from(page.limit()),
        page.offset(),
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(Page {
        items: rows.into_iter().map(SupportAccess::from).collect(),
        total,
        request: page,
    })
}

/// One of the tenant's, kept as it is until the transaction ends.
pub(super) async fn lock(
    tx: &mut ControlTx,
    tenant: TenantId,
    id: SupportAccessId,
) -> Result<Option<SupportAccess>, DbError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT a.id,
               a.tenant_id,
               a.operator_id,
               i.email,
               a.reason,
               a.can_write,
               a.created_at,
               a.expires_at,
               a.ended_at,
               a.ended_by
        FROM control.support_access AS a
                 JOIN control.identities AS i ON i.id = a.operator_id
        WHERE a.tenant_id = $1
          AND a.id = $2
            FOR UPDATE OF a
        "#,
        tenant.uuid(),
        id.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(SupportAccess::from))
}

/// What an operator has of tenants at this time.
pub(super) async fn list_live(
    tx: &mut ControlTx,
    operator: IdentityId,
    now: DateTime<Utc>,
) -> Result<Vec<(TenantId, SupportAccessId)>, DbError> {
    let rows = sqlx::query!(
        r#"
        SELECT tenant_id, id
        FROM control.support_access
        WHERE operator_id = $1
          AND ended_at IS NULL
          AND expires_at > $2
        ORDER BY id
            FOR UPDATE
        "#,
        operator.uuid(),
        now,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.tenant_id.into(), row.id.into()))
        .collect())
}

pub(super) async fn set_ended(
    tx: &mut ControlTx,
    id: SupportAccessId,
    by: &str,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.support_access
        SET ended_at = $2, ended_by = $3
        WHERE id = $1
          AND ended_at IS NULL
        "#,
        id.uuid(),
        now,
        by,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Whether the access lets an active operator write at this time; `None` where it lets nobody in.
pub(super) async fn find_can_write(
    tx: &mut ControlTx,
    tenant: TenantId,
    id: SupportAccessId,
    now: DateTime<Utc>,
) -> Result<Option<bool>, DbError> {
    let can_write = sqlx::query_scalar!(
        r#"
        SELECT a.can_write
        FROM control.support_access AS a
                 JOIN control.operators AS o ON o.identity_id = a.operator_id
                 JOIN control.identities AS i ON i.id = a.operator_id
        WHERE a.tenant_id = $1
          AND a.id = $2
          AND a.ended_at IS NULL
          AND a.expires_at > $3
          AND o.status = 'active'
          AND i.status = 'active'
        "#,
        tenant.uuid(),
        id.uuid(),
        now,
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(can_write)
}

/// What lets the holder of a session into the tenant at this time, where they are an active operator: of several the
/// newest that may write, else the newest.
pub(super) async fn find_live(
    tx: &mut ControlTx,
    tenant: TenantId,
    (operator, session): (IdentityId, SessionId),
    now: DateTime<Utc>,
) -> Result<Option<LiveAccess>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT a.id, a.can_write, i.email, i.first_name, i.last_name
        FROM control.support_access AS a
                 JOIN control.operators AS o ON o.identity_id = a.operator_id
                 JOIN control.identities AS i ON i.id = a.operator_id
                 JOIN control.sessions AS s ON s.identity_id = a.operator_id
        WHERE a.tenant_id = $1
          AND a.operator_id = $2
          AND a.ended_at IS NULL
          AND a.expires_at > $4
          AND o.status = 'active'
          AND i.status = 'active'
          AND s.id = $3
          AND s.revoked_at IS NULL
          AND s.expires_at > $4
        ORDER BY a.can_write DESC, a.created_at DESC
        LIMIT 1
        "#,
        tenant.uuid(),
        operator.uuid(),
        session.uuid(),
        now,
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| LiveAccess {
        id: row.id.into(),
        operator,
        email: row.email,
        first_name: row.first_name,
        last_name: row.last_name,
        can_write: row.can_write,
    }))
}
