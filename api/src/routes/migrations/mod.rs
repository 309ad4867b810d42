//! `/platform/migrations`: migrations of the fleet, for those who run the platform. A worker carries them out.

mod body;
mod events;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bulkhead_kernel::{fault::Code, ids::MigrationRunId};
use bulkhead_tenancy::{
    Lineage,
    fleet::{self, Fleet, FleetError, MigratedTenant, RunStatus},
};
use bulkhead_tenants::migrations;

pub use body::{
    DriftBody, MigrationBody, MigrationDetail, PlanBody, RetryMigration, RingBody, StartMigration, TenantBody,
    TenantDrift, VersionBody,
};

use super::page::PageBody;
use crate::{
    extract::{Json, Operator, OptionalJson, PageQuery, Paging, PathId},
    openapi::{OPERATOR, codes},
    problem::Problem,
    state::AppState,
};

fn fleet_of(state: &AppState) -> Fleet {
    Fleet::new(state.db().clone(), Lineage::product().clone())
}

/// List the migrations of the fleet
#[utoipa::path(get, path = "/migrations", operation_id = "list_migrations", tag = "platform", params(PageQuery),
    responses((status = 200, body = PageBody<MigrationBody>)),
    extensions(("x-permission" = json!(OPERATOR))))]
pub async fn list(
    State(state): State<AppState>,
    _: Operator,
    Paging(page): Paging,
) -> Result<Json<PageBody<MigrationBody>>, Problem> {
    let mut tx = state.db().control().await?;
    let runs = fleet::list(&mut tx, page).await?;
    tx.commit().await?;
    Ok(Json(PageBody::of(runs, MigrationBody::from)))
}

/// Bring all tenants to the newest version
///
/// Accepted as soon as it is written down; a worker carries it out, ring by ring. One run is open at a time.
#[utoipa::path(post, path = "/migrations", operation_id = "start_migration", tag = "platform",
    request_body = StartMigration,
    responses((status = 202, body = MigrationBody, headers(("Location")))),
    extensions(("x-permission" = json!(OPERATOR)), ("x-problem-codes" = json!(codes(&[Code::MigrationUnderWay])))))]
pub async fn start(
    State(state): State<AppState>,
    Operator(caller): Operator,
    OptionalJson(wanted): OptionalJson<StartMigration>,
) -> Result<Response, Problem> {
    let options = wanted.options()?;
    let status = migrations::start(&caller.origin, state.db(), &fleet_of(&state), &options).await?;
    let location = [(header::LOCATION, format!("/api/v1/platform/migrations/{}", status.id))];
    Ok((StatusCode::ACCEPTED, location, Json(MigrationBody::from(status))).into_response())
}

/// Show what a migration would do now
#[utoipa::path(get, path = "/migrations/plan", operation_id = "plan_migration", tag = "platform",
    responses((status = 200, body = PlanBody)), extensions(("x-permission" = json!(OPERATOR))))]
pub async fn plan(State(state): State<AppState>, _: Operator) -> Result<Json<PlanBody>, Problem> {
    let plan = fleet_of(&state).plan(&fleet::Options::default()).await?;
    Ok(Json(plan.into()))
}

/// Compare every tenant's schema with what its version says
///
/// Reads the catalog of every schema; with thousands of tenants this takes a few seconds.
#[utoipa::path(get, path = "/migrations/drift", operation_id = "report_drift", tag = "platform",
    responses((status = 200, body = DriftBody)), extensions(("x-permission" = json!(OPERATOR))))]
pub async fn drift(State(state): State<AppState>, _: Operator) -> Result<Json<DriftBody>, Problem> {
    let report = fleet_of(&state).drift().await?;
    Ok(Json(report.into()))
}

/// Show a migration, with the tenants that failed or were skipped
#[utoipa::path(get, path = "/migrations/{id}", operation_id = "get_migration", tag = "platform",
    params(("id" = String, Path, description = "The migration")), responses((status = 200, body = MigrationDetail)),
    extensions(("x-permission" = json!(OPERATOR)), ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn get(
    State(state): State<AppState>,
    _: Operator,
    PathId(id): PathId<MigrationRunId>,
) -> Result<Json<MigrationDetail>, Problem> {
    let (status, named) = look(&state, id).await?;
    Ok(Json(MigrationDetail::new(status, named)))
}

async fn look(state: &AppState, id: MigrationRunId) -> Result<(RunStatus, Vec<MigratedTenant>), FleetError> {
    let mut tx = state.db().control().await?;
    let status = fleet::get(&mut tx, id).await?;
    let named = fleet::named(&mut tx, id).await?;
    tx.commit().await?;
    Ok((status, named))
}

/// Pause a migration
///
/// The tenants under way finish; no more are begun.
#[utoipa::path(post, path = "/migrations/{id}/pause", operation_id = "pause_migration", tag = "platform",
    params(("id" = String, Path, description = "The migration")), responses((status = 200, body = MigrationBody)),
    extensions(("x-permission" = json!(OPERATOR)),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::MigrationState])))))]
pub async fn pause(
    State(state): State<AppState>,
    Operator(caller): Operator,
    PathId(id): PathId<MigrationRunId>,
) -> Result<Json<MigrationBody>, Problem> {
    Ok(Json(migrations::pause(&caller.origin, state.db(), id).await?.into()))
}

/// Let a paused or stopped migration go on
///
/// What failed so far is accepted and no longer counts against the budget. A migration whose process has died is taken up.
#[utoipa::path(post, path = "/migrations/{id}/resume", operation_id = "resume_migration", tag = "platform",
    params(("id" = String, Path, description = "The migration")), responses((status = 202, body = MigrationBody)),
    extensions(("x-permission" = json!(OPERATOR)),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::MigrationState])))))]
pub async fn resume(
    State(state): State<AppState>,
    Operator(caller): Operator,
    PathId(id): PathId<MigrationRunId>,
) -> Result<(StatusCode, Json<MigrationBody>), Problem> {
    let status = migrations::resume(&caller.origin, state.db(), id).await?;
    Ok((StatusCode::ACCEPTED, Json(status.into())))
}

/// Try the failed tenants of a migration again
#[utoipa::path(post, path = "/migrations/{id}/retry", operation_id = "retry_migration", tag = "platform",
    params(("id" = String, Path, description = "The migration")), request_body = RetryMigration,
    responses((status = 202, body = MigrationBody)),
    extensions(("x-permission" = json!(OPERATOR)), ("x-problem-codes" = json!(codes(&[Code::NotFound,
        Code::MigrationState, Code::MigrationUnderWay])))))]
pub async fn retry(
    State(state): State<AppState>,
    Operator(caller): Operator,
    PathId(id): PathId<MigrationRunId>,
    OptionalJson(wanted): OptionalJson<RetryMigration>,
) -> Result<(StatusCode, Json<MigrationBody>), Problem> {
    let only = wanted.tenants.as_deref();
    let status = migrations::retry(&caller.origin, state.db(), id, only).await?;
    Ok((StatusCode::ACCEPTED, Json(status.into())))
}

/// Watch a migration
///
/// An event `progress` whenever the counts have changed, an event `tenant` for each tenant that failed or was skipped, and
/// at the end an event `state`. Opened again it begins with how things stand.
#[utoipa::path(get, path = "/migrations/{id}/events", operation_id = "watch_migration", tag = "platform",
    params(("id" = String, Path, description = "The migration")),
    responses((status = 200, content((String = "text/event-stream",
        example = json!("event: progress\ndata: {\"id\":\"mig_…\",\"state\":\"running\",\"done\":120}\n\n"))))),
    extensions(("x-permission" = json!(OPERATOR)), ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn watch(
    State(state): State<AppState>,
    _: Operator,
    PathId(id): PathId<MigrationRunId>,
) -> Result<Response, Problem> {
    look(&state, id).await?;
    Ok(events::stream(state, id))
}
