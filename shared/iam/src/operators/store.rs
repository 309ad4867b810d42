//! Rows of `control.operators`.

use bulkhead_kernel::{
    ids::IdentityId,
    page::{Page, PageRequest},
};
use bulkhead_tenancy::{ControlTx, DbError};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Operator;

struct Row {
    id: Uuid,
    email: String,
    first_name: String,
    last_name: String,
    is_active: bool,
    created_by: String,
    created_at: DateTime<Utc>,
    changed_at: DateTime<Utc>,
}

impl From<Row> for Operator {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            email: row.email,
            first_name: row.first_name,
            last_name: row.last_name,
            is_active: row.is_active,
            created_by: row.created_by,
            created_at: row.created_at,
            changed_at: row.changed_at,
        }
    }
}

/// One page of operators by address.
pub(super) async fn list(tx: &mut ControlTx, page: PageRequest) -> Result<Page<Operator>, DbError> {
    let total = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "total!"
        FROM control.operators
        "#
    )
    .fetch_one(tx.conn())
    .await?;
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT i.id,
               i.email,
               i.first_name,
               i.last_name,
               o.status = 'active' AS "is_active!",
               o.created_by,
               o.created_at,
               o.changed_at
        FROM control.operators AS o
                 JOIN control.identities AS i ON i.id = o.identity_id
        ORDER BY i.email
        LIMIT $1 OFFSET $2
        "#,
        i64::from(page.limit()),
        page.offset(),
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(Page {
        items: rows.into_iter().map(Operator::from).collect(),
        total,
        request: page,
    })
}

pub(super) async fn find(tx: &mut ControlTx, id: IdentityId) -> Result<Option<Operator>, DbError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT i.id,
               i.email,
               i.first_name,
               i.last_name,
               o.status = 'active' AS "is_active!",
               o.created_by,
               o.created_at,
               o.changed_at
        FROM control.operators AS o
                 JOIN control.identities AS i ON i.id = o.identity_id
        WHERE o.identity_id = $1
        "#,
        id.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(Operator::from))
}

/// Those who are active once everybody who changes operators has finished; whoever comes later waits. Always in the same
/// order, so that nobody waits in a circle.
pub(super) async fn lock_active(tx: &mut ControlTx) -> Result<Vec<IdentityId>, DbError> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT identity_id
        FROM control.operators
        WHERE status = 'active'
        ORDER BY identity_id
            FOR UPDATE
        "#
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(ids.into_iter().map(IdentityId::from).collect())
}

/// Whether the operator is active, and stays so until the transaction ends.
pub(crate) async fn lock_active_one(tx: &mut ControlTx, id: IdentityId) -> Result<bool, DbError> {
    let found = sqlx::query_scalar!(
        r#"
        SELECT identity_id
        FROM control.operators
        WHERE identity_id = $1
          AND status = 'active'
            FOR SHARE
        "#,
        id.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(found.is_some())
}

/// `false` where the person is an operator, active or not.
pub(super) async fn insert(
    tx: &mut ControlTx,
    id: IdentityId,
    created_by: &str,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        r#"
        INSERT INTO control.operators (identity_id, created_by, created_at, changed_at)
        VALUES ($1, $2, $3, $3)
        ON CONFLICT (identity_id) DO NOTHING
        "#,
        id.uuid(),
        created_by,
        now,
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn set_active(
    tx: &mut ControlTx,
    id: IdentityId,
    is_active: bool,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE control.operators
        SET status = $2, changed_at = $3
        WHERE identity_id = $1
        "#,
        id.uuid(),
        if is_active { "active" } else { "inactive" },
        now,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
