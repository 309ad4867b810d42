//! What can be done with moves. For operators.

use std::time::Duration;

use bulkhead_audit::{Actor, Event};
use bulkhead_jobs::{Owner, enqueue_for};
use bulkhead_kernel::{
    fault::Violation,
    ids::{MoveId, TenantId},
    origin::Origin,
    telemetry::fields,
};
use bulkhead_tenancy::{Cluster, Db, DbError, SCHEMA_VERSION};

use super::{Move, MoveError, store};
use crate::{State, TenantError, capacity, jobs::MoveTenant, lifecycle};

/// How long Citus may take to copy a tenant to another of its nodes.
const NODE_PATIENCE: Duration = Duration::from_hours(1);

/// Begins a move: its row, the tenant's placement and the job commit together.
pub async fn start(origin: &Origin, db: &Db, tenant: TenantId, to: &Cluster) -> Result<Move, MoveError> {
    let db = db.home();
    let refused = |detail: &str| Err(MoveError::Refused(vec![Violation::new("/cluster", detail)]));
    let Ok(target) = db.at(to) else {
        return refused("there is no such cluster");
    };
    let mut tx = db.control().await?;
    match lifecycle::store::lock(&mut tx, tenant).await? {
        Some(State::Active | State::Suspended(_)) => {}
        Some(_) => return Err(TenantError::State("The tenant is being built or deleted.").into()),
        None => return Err(TenantError::NotFound.into()),
    }
    let from = store::find_place(&mut tx, tenant).await?;
    if from == *target.cluster() {
        return refused("the tenant is there already");
    }
    capacity::service::require_room(&mut tx, &db, to).await?;
    let id = MoveId::new();
    store::insert(&mut tx, id, tenant, (&from, to), &origin.principal).await?;
    store::set_moving(&mut tx, id, tenant, &from).await?;
    enqueue_for(origin, &mut tx, Owner::Platform, &MoveTenant { id }).await?;
    let event = Event::now("tenant.move", Actor::operator(origin), origin)
        .on("tenant", tenant)
        .on("move", id)
        .change("cluster", from.to_string(), to.to_string());
    bulkhead_audit::record_of_platform(&mut tx, event).await?;
    let begun = store::get(&mut tx, id, Some(tenant))
        .await?
        .ok_or(MoveError::NotFound)?;
    tx.commit().await?;
    tracing::info!({ fields::TENANT_ID } = %tenant, move.id = %id, %from, %to, version = SCHEMA_VERSION, "tenant.move_begun");
    Ok(begun)
}

/// Moves the tenant to another node of the Citus cluster it lives in, at once; Citus copies and switches by itself. Refused
/// where the tenant's cluster is no Citus, or its schema not a distributed one.
pub async fn move_to_node(origin: &Origin, db: &Db, tenant: TenantId, node: (&str, u16)) -> Result<(), MoveError> {
    let mut tx = db.home().control().await?;
    match lifecycle::store::lock(&mut tx, tenant).await? {
        Some(State::Active | State::Suspended(_)) => {}
        Some(_) => return Err(TenantError::State("The tenant is being built or deleted.").into()),
        None => return Err(TenantError::NotFound.into()),
    }
    let cluster = store::find_place(&mut tx, tenant).await?;
    let mut owner = db.at(&cluster)?.owner().await?;
    let refused = |detail: &str| Err(MoveError::Refused(vec![Violation::new("/node", detail)]));
    match owner.is_schema_distributed(tenant).await? {
        Some(true) => {}
        Some(false) => return refused("the tenant's schema is older than Citus there and not distributed"),
        None => return refused("the tenant's cluster has no Citus, and no nodes"),
    }
    // Written before the copy, which lasts longer than anybody may hold the tenant's row.
    let event = Event::now("tenant.move", Actor::operator(origin), origin)
        .on("tenant", tenant)
        .change("node", "", format!("{}:{}", node.0, node.1));
    bulkhead_audit::record_of_platform(&mut tx, event).await?;
    tx.commit().await?;
    owner.move_schema_to_node(tenant, node, NODE_PATIENCE).await?;
    Ok(owner.commit().await?)
}

/// A move of this tenant.
pub async fn get(db: &Db, tenant: TenantId, id: MoveId) -> Result<Move, MoveError> {
    let mut tx = db.home().control().await?;
    let found = store::get(&mut tx, id, Some(tenant)).await?;
    tx.commit().await?;
    found.ok_or(MoveError::NotFound)
}

/// Calls a move off, as long as it has not switched. Asked again while it is called off: nothing.
pub async fn abort(origin: &Origin, db: &Db, tenant: TenantId, id: MoveId) -> Result<Move, MoveError> {
    let mut tx = db.home().control().await?;
    let is_aborting = store::set_aborting(&mut tx, id, Some(tenant), "called off").await?;
    let found = store::get(&mut tx, id, Some(tenant))
        .await?
        .ok_or(MoveError::NotFound)?;
    if !is_aborting && found.state != super::MoveState::Aborting {
        return Err(MoveError::State);
    }
    enqueue_for(origin, &mut tx, Owner::Platform, &MoveTenant { id }).await?;
    let event = Event::now("tenant.move_abort", Actor::operator(origin), origin)
        .on("tenant", tenant)
        .on("move", id);
    bulkhead_audit::record_of_platform(&mut tx, event).await?;
    tx.commit().await?;
    Ok(found)
}

/// Sees to it that every open move has a job, whatever became of the one it had.
pub(crate) async fn resume_all(db: &Db) -> Result<(), DbError> {
    if !db.has_clusters() {
        return Ok(());
    }
    let mut tx = db.control().await?;
    for id in store::list_open(&mut tx).await? {
        enqueue_for(&Origin::system("sweep"), &mut tx, Owner::Platform, &MoveTenant { id }).await?;
    }
    tx.commit().await
}
