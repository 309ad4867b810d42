//! What can be asked of VMs.

use bulkhead_iam::{Scope, permissions::Permission};
use bulkhead_kernel::{
    ids::{OperationId, VmId},
    origin::Origin,
    page::{Page, PageRequest},
};
use bulkhead_tenancy::{Db, TenantTx};
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    Desired, NewVm, Phase, ReconcileVm, Status, Vm, VmDetail, VmError, VmQuery, VmSummary,
    idempotency::Key,
    model::ValidVm,
    store::{self, Locked},
};
use crate::{
    events::{self, Event, Level, NewEvent},
    operations::{self, Kind, Operation, State},
    templates::{self, Template},
};

/// An accepted change: how the VM looks now and what will do the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The VM.
    pub vm: Vm,
    /// What brings it where it should be.
    pub operation: OperationId,
}

/// What a deletion comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deletion {
    /// It is on its way; asking again gives the same operation.
    Accepted(Box<Accepted>),
    /// It is gone already.
    AlreadyDeleted,
}

/// Which part of a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogQuery {
    /// A page, the newest entry first.
    Newest(PageRequest),
    /// What came after an entry, the oldest first; at most `limit` (1 to 100).
    After {
        /// The last entry the caller has seen; 0 for none.
        seq: i64,
        /// How many at the most.
        limit: u32,
    },
}

/// Accepts a VM. Under an idempotency key the same request is answered the same way without a second VM.
#[tracing::instrument(name = "vms.create", skip_all)]
pub async fn create(scope: &Scope, db: &Db, new: &NewVm, key: Option<&str>) -> Result<Accepted, VmError> {
    scope.require(Permission::VmCreate)?;
    let valid = new.validate()?;
    let key = key.map(|key| Key::new(&scope.origin.principal, key, new)).transpose()?;
    let now = scope.clock.now();
    let mut tx = db.tenant(scope.tenant.id).await?;
    if let Some(key) = &key
        && let Some(earlier) = key.claim(&mut tx, now).await?
    {
        return Ok(earlier);
    }
    let accepted = match insert(scope, &mut tx, valid, now).await {
        Err(VmError::Database(error)) if error.constraint() == Some("vms_name_key") => {
            drop(tx);
            return Err(name_taken(scope, db, new.name.trim()).await?);
        }
        result => result?,
    };
    if let Some(key) = &key {
        key.keep(&mut tx, &accepted).await?;
    }
    tx.commit().await?;
    Ok(accepted)
}

async fn insert(scope: &Scope, tx: &mut TenantTx, valid: ValidVm, now: DateTime<Utc>) -> Result<Accepted, VmError> {
    let found = templates::store::find(tx, valid.template).await?;
    let template = found
        .filter(|template| !template.is_deprecated)
        .ok_or(VmError::TemplateUnavailable)?;
    valid.check_fits(&template)?;
    if let Some(existing) = store::find_named(tx, &valid.name).await? {
        return Err(VmError::NameTaken(Some(existing)));
    }
    let accepted = Accepted {
        vm: requested(valid, &template, now),
        operation: OperationId::new(),
    };
    let Accepted { vm, operation } = &accepted;
    store::insert(tx, vm, &template, &scope.origin.principal).await?;
    operations::store::insert(tx, vm.id, (*operation, Kind::Create), 1, &scope.origin, now).await?;
    let origin = &scope.origin;
    record(origin, tx, &accepted, "vm.requested", "The machine was requested.").await?;
    wake(origin, tx, vm.id, 1).await?;
    let event = scope
        .event("vm.create")
        .on("vm", vm.id)
        .change("name", Value::Null, vm.name.as_str())
        .change("cpu", Value::Null, vm.cpu)
        .change("memory_gb", Value::Null, vm.memory_gb)
        .change("disk_gb", Value::Null, vm.disk_gb)
        .change("template", Value::Null, template.name.as_str());
    bulkhead_audit::record(tx, event).await?;
    let told = bulkhead_events::Event::VmCreated(bulkhead_events::Vm {
        id: vm.id,
        name: vm.name.clone(),
        status: vm.status().as_str(),
    });
    bulkhead_events::emit(origin, tx, now, &told).await?;
    Ok(accepted)
}

fn requested(valid: ValidVm, template: &Template, now: DateTime<Utc>) -> Vm {
    Vm {
        id: VmId::new(),
        name: valid.name,
        phase: Phase::Requested,
        last_stable: Status::Provisioning,
        fault: None,
        cpu: valid.size.cpu,
        memory_gb: valid.size.memory_gb,
        disk_gb: valid.size.disk_gb,
        ip_address: None,
        template_name: Some(template.name.clone()),
        version: 1,
        created_at: now,
        updated_at: now,
    }
}

/// The transaction that met the name is spent, so another one looks whose it is.
async fn name_taken(scope: &Scope, db: &Db, name: &str) -> Result<VmError, VmError> {
    let mut tx = db.tenant(scope.tenant.id).await?;
    let existing = store::find_named(&mut tx, name).await?;
    tx.commit().await?;
    Ok(VmError::NameTaken(existing))
}

/// The VMs that are not deleted, the newest first.
#[tracing::instrument(name = "vms.list", skip_all)]
pub async fn list(scope: &Scope, db: &Db, query: &VmQuery) -> Result<Page<VmSummary>, VmError> {
    scope.require(Permission::VmRead)?;
    let search = query.search()?;
    let (items, total) = if search.is_none() && query.status.is_none() {
        store::list(db, scope.tenant.id, query.page).await?
    } else {
        let mut tx = db.tenant(scope.tenant.id).await?;
        let found = store::list_matching(&mut tx, query.page, search, query.status).await?;
        tx.commit().await?;
        found
    };
    Ok(Page {
        items,
        total,
        request: query.page,
    })
}

/// A VM that is not deleted, with what is being done to it.
#[tracing::instrument(name = "vms.get", skip_all)]
pub async fn get(scope: &Scope, db: &Db, id: VmId) -> Result<VmDetail, VmError> {
    scope.require(Permission::VmRead)?;
    let mut tx = db.tenant(scope.tenant.id).await?;
    let vm = store::find(&mut tx, id).await?.ok_or(VmError::NotFound)?;
    let operation = operations::store::list_live(&mut tx, id).await?.into_iter().next();
    tx.commit().await?;
    Ok(VmDetail { vm, operation })
}

/// Wants the VM gone, wherever it is on its way. A creation under way is called off at its next step.
#[tracing::instrument(name = "vms.delete", skip_all)]
pub async fn delete(scope: &Scope, db: &Db, id: VmId) -> Result<Deletion, VmError> {
    scope.require(Permission::VmDelete)?;
    let now = scope.clock.now();
    let mut tx = db.tenant(scope.tenant.id).await?;
    let locked = store::lock(&mut tx, id).await?.ok_or(VmError::NotFound)?;
    if locked.vm.phase == Phase::Deleted {
        return Ok(Deletion::AlreadyDeleted);
    }
    let live = operations::store::list_live(&mut tx, id).await?;
    if locked.desired == Desired::Deleted
        && let Some(operation) = live.iter().find(|operation| operation.kind == Kind::Delete)
    {
        let accepted = Accepted {
            vm: locked.vm,
            operation: operation.id,
        };
        return Ok(Deletion::Accepted(Box::new(accepted)));
    }
    if locked.is_deletion_protected {
        return Err(VmError::DeletionProtected);
    }
    let accepted = want_deleted(&scope.origin, &mut tx, &locked, &live, now).await?;
    let event = scope
        .event("vm.delete")
        .on("vm", id)
        .change("name", locked.vm.name, Value::Null);
    bulkhead_audit::record(&mut tx, event).await?;
    tx.commit().await?;
    Ok(Deletion::Accepted(Box::new(accepted)))
}

/// Writes down that the locked VM is to go, instead of whatever waits for it.
pub(super) async fn want_deleted(
    origin: &Origin,
    tx: &mut TenantTx,
    locked: &Locked,
    live: &[Operation],
    now: DateTime<Utc>,
) -> Result<Accepted, VmError> {
    for waiting in live.iter().filter(|operation| operation.state == State::Pending) {
        let end = if waiting.kind == Kind::Create {
            State::Cancelled
        } else {
            State::Superseded
        };
        operations::store::set_ended(tx, waiting.id, end, now).await?;
    }
    let id = locked.vm.id;
    let accepted = Accepted {
        vm: store::set_desired(tx, id, Desired::Deleted, now).await?,
        operation: OperationId::new(),
    };
    let operation = (accepted.operation, Kind::Delete);
    operations::store::insert(tx, id, operation, locked.desired_gen + 1, origin, now).await?;
    let message = "Deletion was requested.";
    record(origin, tx, &accepted, "vm.delete_requested", message).await?;
    wake(origin, tx, id, locked.incarnation).await?;
    Ok(accepted)
}

/// What happened to a VM, also for a while after its deletion.
#[tracing::instrument(name = "vms.logs", skip_all)]
pub async fn logs(scope: &Scope, db: &Db, id: VmId, query: LogQuery) -> Result<(Vec<Event>, i64), VmError> {
    scope.require(Permission::VmReadLogs)?;
    let mut tx = db.tenant(scope.tenant.id).await?;
    if !store::exists(&mut tx, id).await? {
        return Err(VmError::NotFound);
    }
    let total = events::store::count(&mut tx, id).await?;
    let items = match query {
        LogQuery::Newest(page) => events::store::list(&mut tx, id, i64::from(page.limit()), page.offset()).await?,
        LogQuery::After { seq, limit } => {
            let limit = i64::from(limit.clamp(1, PageRequest::MAX_LIMIT));
            events::store::list_after(&mut tx, id, seq, limit).await?
        }
    };
    tx.commit().await?;
    Ok((items, total))
}

async fn record(
    origin: &Origin,
    tx: &mut TenantTx,
    accepted: &Accepted,
    code: &str,
    message: &str,
) -> Result<(), VmError> {
    let event = NewEvent {
        at: accepted.vm.updated_at,
        level: Level::Info,
        code,
        message,
        phase: accepted.vm.phase,
        principal: &origin.principal,
        operation: Some(accepted.operation),
        request_id: &origin.request_id,
    };
    Ok(events::store::insert(tx, accepted.vm.id, &event).await?)
}

/// Makes the VM due and hints at it; the hint may be lost, the row may not.
async fn wake(origin: &Origin, tx: &mut TenantTx, id: VmId, incarnation: i32) -> Result<(), VmError> {
    store::touch(tx, id, incarnation).await?;
    bulkhead_jobs::enqueue(origin, tx, &ReconcileVm { vm_id: id }).await?;
    Ok(())
}
