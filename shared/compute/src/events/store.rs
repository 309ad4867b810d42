//! Events in the database.

use bulkhead_kernel::ids::{OperationId, VmId};
use bulkhead_tenancy::{DbError, TenantTx};

use super::{Event, NewEvent};
use crate::vms::VmError;

/// Appends; the caller has the VM's row locked.
pub(crate) async fn insert(tx: &mut TenantTx, vm: VmId, event: &NewEvent<'_>) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO vm_events (vm_id, seq, at, level, code, message, phase, principal, operation_id, request_id)
        SELECT $1, coalesce(max(e.seq), 0) + 1, $2, $3, $4, $5, $6, $7, $8, $9
        FROM vm_events AS e
        WHERE e.vm_id = $1
        "#,
        vm.uuid(),
        event.at,
        event.level.as_str(),
        event.code,
        event.message,
        event.phase.as_str(),
        event.principal,
        event.operation.map(OperationId::uuid),
        event.request_id,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// How many there are.
pub(crate) async fn count(tx: &mut TenantTx, vm: VmId) -> Result<i64, DbError> {
    // The sequence has no gaps, so the last number is the number of events.
    let last = sqlx::query_scalar!(
        r#"
        SELECT coalesce(max(seq), 0) AS "last!"
        FROM vm_events
        WHERE vm_id = $1
        "#,
        vm.uuid(),
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(last)
}

/// The newest first.
pub(crate) async fn list(tx: &mut TenantTx, vm: VmId, limit: i64, offset: i64) -> Result<Vec<Event>, VmError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT seq, at, level, code, message, phase, principal, operation_id, request_id
        FROM vm_events
        WHERE vm_id = $1
        ORDER BY seq DESC
        LIMIT $2 OFFSET $3
        "#,
        vm.uuid(),
        limit,
        offset,
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(Event::try_from).collect()
}

/// Those after `seq`, the oldest first.
pub(crate) async fn list_after(tx: &mut TenantTx, vm: VmId, seq: i64, limit: i64) -> Result<Vec<Event>, VmError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT seq, at, level, code, message, phase, principal, operation_id, request_id
        FROM vm_events
        WHERE vm_id = $1
          AND seq > $2
        ORDER BY seq
        LIMIT $3
        "#,
        vm.uuid(),
        seq,
        limit,
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(Event::try_from).collect()
}

struct Row {
    seq: i64,
    at: chrono::DateTime<chrono::Utc>,
    level: String,
    code: String,
    message: String,
    phase: String,
    principal: String,
    operation_id: Option<uuid::Uuid>,
    request_id: String,
}

impl TryFrom<Row> for Event {
    type Error = VmError;

    fn try_from(row: Row) -> Result<Self, VmError> {
        Ok(Self {
            seq: row.seq,
            at: row.at,
            level: row.level.parse()?,
            code: row.code,
            message: row.message,
            phase: row.phase.parse()?,
            principal: row.principal,
            operation: row.operation_id.map(Into::into),
            request_id: row.request_id,
        })
    }
}
