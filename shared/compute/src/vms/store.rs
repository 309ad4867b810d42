//! VMs in the database, as callers see them.

use bulkhead_kernel::{
    ids::{TenantId, VmId},
    page::PageRequest,
};
use bulkhead_tenancy::{ControlTx, Db, DbError, Message, TenantTx, from_epoch};
use chrono::{DateTime, Utc};
use sqlx::{Row as _, postgres::PgRow};
use uuid::Uuid;

use super::{Desired, Status, Vm, VmError, VmSummary};
use crate::{driver::Identity, templates::Template};

/// The page and the number of all live VMs, the newest first: one message, one round trip. Its checked twin is
/// [`list_matching`] without a condition.
pub(super) async fn list(db: &Db, tenant: TenantId, page: PageRequest) -> Result<(Vec<VmSummary>, i64), VmError> {
    let message = Message::new()
        .sql("SELECT count(*) FROM vms WHERE phase <> 'DELETED'")
        .then()
        .sql("SELECT id, name, phase, last_stable, cpu, memory_gb, disk_gb, ip_address, template_name, ")
        .sql("date_part('epoch', created_at) FROM vms WHERE phase <> 'DELETED' ")
        .sql("ORDER BY created_at DESC, id DESC LIMIT ")
        .int(i64::from(page.limit()))
        .sql(" OFFSET ")
        .int(page.offset());
    let results = db.read(tenant, &message).await?;
    let mut total = 0;
    if let Some(row) = results.first().and_then(|rows| rows.first()) {
        total = row.try_get(0)?;
    }
    let rows = results.get(1).map(Vec::as_slice).unwrap_or_default();
    let vms = rows.iter().map(|row| decode(row)?.try_into());
    Ok((vms.collect::<Result<_, VmError>>()?, total))
}

fn decode(row: &PgRow) -> Result<SummaryRow, sqlx::Error> {
    Ok(SummaryRow {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        phase: row.try_get(2)?,
        last_stable: row.try_get(3)?,
        cpu: row.try_get(4)?,
        memory_gb: row.try_get(5)?,
        disk_gb: row.try_get(6)?,
        ip_address: row.try_get(7)?,
        template_name: row.try_get(8)?,
        created_at: from_epoch(row, 9)?,
    })
}

/// [`list`], with conditions that carry text.
pub(super) async fn list_matching(
    tx: &mut TenantTx,
    page: PageRequest,
    search: Option<&str>,
    status: Option<Status>,
) -> Result<(Vec<VmSummary>, i64), VmError> {
    let status = status.map(Status::as_str);
    let total = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "total!"
        FROM vms
        WHERE phase <> 'DELETED'
          AND ($1::text IS NULL OR position(lower($1) IN lower(name)) > 0)
          AND ($2::text IS NULL OR last_stable = $2)
        "#,
        search,
        status,
    )
    .fetch_one(tx.conn())
    .await?;
    let rows = sqlx::query_as!(
        SummaryRow,
        r#"
        SELECT id, name, phase, last_stable, cpu, memory_gb, disk_gb, ip_address, template_name, created_at
        FROM vms
        WHERE phase <> 'DELETED'
          AND ($3::text IS NULL OR position(lower($3) IN lower(name)) > 0)
          AND ($4::text IS NULL OR last_stable = $4)
        ORDER BY created_at DESC, id DESC
        LIMIT $1 OFFSET $2
        "#,
        i64::from(page.limit()),
        page.offset(),
        search,
        status,
    )
    .fetch_all(tx.conn())
    .await?;
    let vms = rows.into_iter().map(VmSummary::try_from).collect::<Result<_, _>>()?;
    Ok((vms, total))
}

/// A VM that is not deleted.
pub(super) async fn find(tx: &mut TenantTx, id: VmId) -> Result<Option<Vm>, VmError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT id, name, phase, last_stable, fault, cpu, memory_gb, disk_gb, ip_address, template_name, version,
               created_at, updated_at
        FROM vms
        WHERE id = $1
          AND phase <> 'DELETED'
        "#,
        id.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    row.map(Vm::try_from).transpose()
}

/// Whether there is a row at all; a deleted VM keeps its timeline for a while.
pub(super) async fn exists(tx: &mut TenantTx, id: VmId) -> Result<bool, DbError> {
    let exists = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (SELECT FROM vms WHERE id = $1) AS "exists!"
        "#,
        id.uuid(),
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(exists)
}

/// The live VM of this name.
pub(super) async fn find_named(tx: &mut TenantTx, name: &str) -> Result<Option<VmId>, DbError> {
    let id = sqlx::query_scalar!(
        r#"
        SELECT id
        FROM vms
        WHERE lower(name) = lower($1)
          AND phase <> 'DELETED'
        "#,
        name,
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(id.map(VmId::from))
}

/// Machines that are there and that nobody wants gone yet.
pub(super) async fn list_wanted(tx: &mut TenantTx, limit: i64) -> Result<Vec<VmId>, DbError> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT id
        FROM vms
        WHERE desired <> 'deleted'
          AND phase <> 'DELETED'
        ORDER BY id
        LIMIT $1
        "#,
        limit,
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(ids.into_iter().map(VmId::from).collect())
}

/// Machines that are not proved gone.
pub(super) async fn count_not_deleted(tx: &mut TenantTx) -> Result<i64, DbError> {
    let n_left = sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "n_left!"
        FROM vms
        WHERE phase <> 'DELETED'
        "#,
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(n_left)
}

/// Removes the work rows of a tenant whose machines are all gone. `false` while a worker still holds one.
pub(super) async fn delete_work(tx: &mut ControlTx, tenant: TenantId) -> Result<bool, DbError> {
    let n_held = sqlx::query_scalar!(
        r#"
        WITH gone AS (
            DELETE FROM control.vm_work
            WHERE tenant_id = $1
              AND (lease_until IS NULL OR lease_until <= now())
        )
        SELECT count(*) AS "n_held!"
        FROM control.vm_work
        WHERE tenant_id = $1
          AND lease_until > now()
        "#,
        tenant.uuid(),
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(n_held == 0)
}

/// A VM with what a deletion has to know of it.
pub(super) struct Locked {
    pub(super) vm: Vm,
    pub(super) desired: Desired,
    pub(super) desired_gen: i64,
    pub(super) incarnation: i32,
    pub(super) is_deletion_protected: bool,
}

/// The VM, deleted or not, locked until the transaction ends.
pub(super) async fn lock(tx: &mut TenantTx, id: VmId) -> Result<Option<Locked>, VmError> {
    let row = sqlx::query!(
        r#"
        SELECT id, name, phase, last_stable, fault, cpu, memory_gb, disk_gb, ip_address, template_name, version,
               created_at, updated_at, desired, desired_gen, incarnation, is_deletion_protected
        FROM vms
        WHERE id = $1
            FOR UPDATE
        "#,
        id.uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Locked {
        desired: row.desired.parse()?,
        desired_gen: row.desired_gen,
        incarnation: row.incarnation,
        is_deletion_protected: row.is_deletion_protected,
        vm: Vm::try_from(Row {
            id: row.id,
            name: row.name,
            phase: row.phase,
            last_stable: row.last_stable,
            fault: row.fault,
            cpu: row.cpu,
            memory_gb: row.memory_gb,
            disk_gb: row.disk_gb,
            ip_address: row.ip_address,
            template_name: row.template_name,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })?,
    }))
}

/// A new VM and what it holds of the quota.
pub(super) async fn insert(tx: &mut TenantTx, vm: &Vm, template: &Template, principal: &str) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        INSERT INTO vms (id, name, source_type, template_id, template_name, template_version, cpu, memory_gb, disk_gb,
                         desired, phase, last_stable, version, created_by, created_at, updated_at)
        VALUES ($1, $2, 'template', $3, $4, $5, $6, $7, $8, 'running', $9, $10, $11, $12, $13, $13)
        "#,
        vm.id.uuid(),
        vm.name,
        template.id.uuid(),
        template.name,
        template.version,
        vm.cpu,
        vm.memory_gb,
        vm.disk_gb,
        vm.phase.as_str(),
        vm.last_stable.as_str(),
        vm.version,
        principal,
        vm.created_at,
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        r#"
        INSERT INTO vm_allocations (vm_id, cpu, memory_gb, disk_gb, created_at)
        VALUES ($1, $2, $3, $4, $5)
        "#,
        vm.id.uuid(),
        vm.cpu,
        vm.memory_gb,
        vm.disk_gb,
        vm.created_at,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Something else is wanted of the VM: a new generation. Gives the VM as it is shown from now on.
pub(super) async fn set_desired(
    tx: &mut TenantTx,
    id: VmId,
    desired: Desired,
    now: DateTime<Utc>,
) -> Result<Vm, VmError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        UPDATE vms
        SET desired     = $2,
            desired_gen = desired_gen + 1,
            version     = version + 1,
            updated_at  = $3
        WHERE id = $1
        RETURNING id, name, phase, last_stable, fault, cpu, memory_gb, disk_gb, ip_address, template_name, version,
            created_at, updated_at
        "#,
        id.uuid(),
        desired.as_str(),
        now,
    )
    .fetch_one(tx.conn())
    .await?;
    row.try_into()
}

/// Makes the VM due for a worker at the commit of this transaction.
pub(super) async fn touch(tx: &mut TenantTx, id: VmId, incarnation: i32) -> Result<(), DbError> {
    let identity = Identity::new(id, incarnation);
    sqlx::query!(
        r#"
        SELECT control.touch_vm_work($1, $2) AS touched
        "#,
        id.uuid(),
        identity.as_str(),
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(())
}

struct Row {
    id: Uuid,
    name: String,
    phase: String,
    last_stable: String,
    fault: Option<String>,
    cpu: i32,
    memory_gb: i32,
    disk_gb: i32,
    ip_address: Option<String>,
    template_name: Option<String>,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

struct SummaryRow {
    id: Uuid,
    name: String,
    phase: String,
    last_stable: String,
    cpu: i32,
    memory_gb: i32,
    disk_gb: i32,
    ip_address: Option<String>,
    template_name: Option<String>,
    created_at: DateTime<Utc>,
}

impl TryFrom<SummaryRow> for VmSummary {
    type Error = VmError;

    fn try_from(row: SummaryRow) -> Result<Self, VmError> {
        Ok(Self {
            id: row.id.into(),
            name: row.name,
            status: Status::of(row.phase.parse()?, row.last_stable.parse()?),
            cpu: row.cpu,
            memory_gb: row.memory_gb,
            disk_gb: row.disk_gb,
            ip_address: row.ip_address,
            template_name: row.template_name,
            created_at: row.created_at,
        })
    }
}

impl TryFrom<Row> for Vm {
    type Error = VmError;

    fn try_from(row: Row) -> Result<Self, VmError> {
        Ok(Self {
            id: row.id.into(),
            name: row.name,
            phase: row.phase.parse()?,
            last_stable: row.last_stable.parse()?,
            fault: row.fault.map(|fault| fault.parse()).transpose()?,
            cpu: row.cpu,
            memory_gb: row.memory_gb,
            disk_gb: row.disk_gb,
            ip_address: row.ip_address,
            template_name: row.template_name,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}
