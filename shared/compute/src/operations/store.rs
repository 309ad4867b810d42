//! Operations and steps in the database. The caller has the VM's row locked.

use bulkhead_kernel::{
    ids::{OperationId, VmId},
    origin::Origin,
};
use bulkhead_tenancy::{DbError, TenantTx};
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Kind, Operation, State, Step, StepState};
use crate::vms::VmError;

/// A pending operation towards the generation `target_gen`.
pub(crate) async fn insert(
    tx: &mut TenantTx,
    vm: VmId,
    operation: (OperationId, Kind),
    target_gen: i64,
    origin: &Origin,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let (id, kind) = operation;
    sqlx::query!(
        r#"
        INSERT INTO vm_operations (id, vm_id, kind, target_gen, principal, request_id, traceparent, created_at, deadline_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        "#,
        id.uuid(),
        vm.uuid(),
        kind.as_str(),
        target_gen,
        origin.principal,
        origin.request_id,
        origin.traceparent,
        now,
        kind.deadline().map(|allowed| now + allowed),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Those that have not ended, the running one first.
pub(crate) async fn list_live(tx: &mut TenantTx, vm: VmId) -> Result<Vec<Operation>, VmError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, kind, state, target_gen, step, steps_done, steps_total, principal, request_id, created_at, deadline_at, error
        FROM vm_operations
        WHERE vm_id = $1
          AND state IN ('pending', 'running')
        ORDER BY state DESC
        "#,
        vm.uuid(),
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(Operation::try_from).collect()
}

/// A pending operation begins.
pub(crate) async fn set_running(
    tx: &mut TenantTx,
    id: OperationId,
    steps_total: i32,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE vm_operations
        SET state       = 'running',
            started_at  = $2,
            steps_total = $3
        WHERE id = $1
          AND state = 'pending'
        "#,
        id.uuid(),
        now,
        steps_total,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Which step runs and how many are behind it.
pub(crate) async fn set_progress(tx: &mut TenantTx, id: OperationId, step: &str, done: i32) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE vm_operations
        SET step       = $2,
            steps_done = $3
        WHERE id = $1
          AND state = 'running'
        "#,
        id.uuid(),
        step,
        done,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// How far the provider says the running step is; it never falls.
pub(crate) async fn set_percent(tx: &mut TenantTx, id: OperationId, percent: i16) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE vm_operations
        SET percent = greatest(percent, $2)
        WHERE id = $1
          AND state = 'running'
        "#,
        id.uuid(),
        percent,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Why it will fail once it has cleaned up.
pub(crate) async fn set_error(tx: &mut TenantTx, id: OperationId, error: &Value) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE vm_operations
        SET error = $2
        WHERE id = $1
          AND state = 'running'
        "#,
        id.uuid(),
        error,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Ends it; an ended one stays as it is.
pub(crate) async fn set_ended(
    tx: &mut TenantTx,
    id: OperationId,
    state: State,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        UPDATE vm_operations
        SET state       = $2,
            finished_at = $3,
            steps_done  = CASE WHEN $2 = 'succeeded' THEN steps_total ELSE steps_done END,
            percent     = NULL
        WHERE id = $1
          AND state IN ('pending', 'running')
        "#,
        id.uuid(),
        state.as_str(),
        now,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The steps written down so far.
pub(crate) async fn list_steps(tx: &mut TenantTx, id: OperationId) -> Result<Vec<Step>, VmError> {
    let rows = sqlx::query!(
        r#"
        SELECT position, state, attempts, lease_epoch, task_ref
        FROM vm_operation_steps
        WHERE operation_id = $1
        ORDER BY position
        "#,
        id.uuid(),
    )
    .fetch_all(tx.conn())
    .await?;
    let mut steps = Vec::with_capacity(rows.len());
    for row in rows {
        steps.push(Step {
            position: row.position,
            state: row.state.parse()?,
            attempts: row.attempts,
            lease_epoch: row.lease_epoch,
            task_ref: row.task_ref,
        });
    }
    Ok(steps)
}

/// What the provider may still be doing for operations of this VM that were called off.
pub(crate) async fn find_leftover_task(tx: &mut TenantTx, vm: VmId) -> Result<Option<String>, DbError> {
    let task = sqlx::query_scalar!(
        r#"
        SELECT s.task_ref AS "task_ref!"
        FROM vm_operation_steps AS s
                 JOIN vm_operations AS o ON o.id = s.operation_id
        WHERE o.vm_id = $1
          AND o.state IN ('cancelled', 'superseded')
          AND s.state = 'waiting'
        ORDER BY s.started_at DESC
        LIMIT 1
        "#,
        vm.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(task)
}

/// Writes down that a step is about to be called. Doing so again counts an attempt and forgets the task.
pub(crate) async fn upsert_intent(
    tx: &mut TenantTx,
    id: OperationId,
    step: (i16, &str),
    epoch: i64,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let (position, name) = step;
    sqlx::query!(
        r#"
        INSERT INTO vm_operation_steps AS s (operation_id, position, name, lease_epoch, started_at)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (operation_id, position) DO UPDATE SET state       = 'intent',
                                                           attempts    = s.attempts + 1,
                                                           lease_epoch = EXCLUDED.lease_epoch,
                                                           task_ref    = NULL,
                                                           finished_at = NULL
        "#,
        id.uuid(),
        position,
        name,
        epoch,
        now,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Writes down what came of a step's call.
pub(crate) async fn set_step(
    tx: &mut TenantTx,
    id: OperationId,
    position: i16,
    outcome: (StepState, Option<&str>, Option<&Value>),
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let (state, task_ref, result) = outcome;
    let is_over = matches!(state, StepState::Done | StepState::Failed);
    sqlx::query!(
        r#"
        UPDATE vm_operation_steps
        SET state       = $3,
            task_ref    = coalesce($4, task_ref),
            result      = coalesce($5, result),
            finished_at = $6
        WHERE operation_id = $1
          AND position = $2
        "#,
        id.uuid(),
        position,
        state.as_str(),
        task_ref,
        result,
        is_over.then_some(now),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

struct Row {
    id: uuid::Uuid,
    kind: String,
    state: String,
    target_gen: i64,
    step: Option<String>,
    steps_done: i32,
    steps_total: i32,
    principal: String,
    request_id: String,
    created_at: DateTime<Utc>,
    deadline_at: Option<DateTime<Utc>>,
    error: Option<Value>,
}

impl TryFrom<Row> for Operation {
    type Error = VmError;

    fn try_from(row: Row) -> Result<Self, VmError> {
        Ok(Self {
            id: row.id.into(),
            kind: row.kind.parse()?,
            state: row.state.parse()?,
            target_gen: row.target_gen,
            step: row.step,
            steps_done: row.steps_done,
            steps_total: row.steps_total,
            principal: row.principal,
            request_id: row.request_id,
            created_at: row.created_at,
            deadline_at: row.deadline_at,
            error: row.error,
        })
    }
}
