//! `/vms`: virtual machines. A call says what is wanted and answers at once; the worker brings it about.

mod body;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bulkhead_compute::vms::{
    Deletion, NewVm, VmQuery,
    service::{self, LogQuery},
};
use bulkhead_iam::permissions::Permission;
use bulkhead_kernel::{fault::Code, ids::VmId, page::Page};

pub use body::{AcceptedVm, CreateVm, EventItem, LogsQuery, OperationBody, VmBody, VmFilter, VmItem};

use super::page::PageBody;
use crate::{
    extract::{IdempotencyHeader, Json, PageQuery, Paging, PathId, Query, Scoped},
    openapi::codes,
    problem::Problem,
    state::AppState,
};

/// List the machines
#[utoipa::path(get, path = "/vms", operation_id = "list_vms", tag = "vms", params(PageQuery, VmFilter),
    responses((status = 200, body = PageBody<VmItem>)),
    extensions(("x-permission" = json!(Permission::VmRead.as_str()))))]
pub async fn list(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    Paging(page): Paging,
    Query(filter): Query<VmFilter>,
) -> Result<Json<PageBody<VmItem>>, Problem> {
    let query = VmQuery {
        page,
        status: filter.status()?,
        search: filter.search,
    };
    let vms = service::list(&scope, state.db(), &query).await?;
    Ok(Json(PageBody::of(vms, VmItem::from)))
}

/// Create a machine
///
/// Accepted as soon as it is written down. Under an `Idempotency-Key` the same request makes one machine, however often
/// it is sent.
#[utoipa::path(post, path = "/vms", operation_id = "create_vm", tag = "vms",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters")),
    responses((status = 202, body = AcceptedVm, headers(("Location")))),
    extensions(("x-permission" = json!(Permission::VmCreate.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NameTaken, Code::TemplateUnavailable, Code::BelowTemplateMinimum,
            Code::SourceUnsupported, Code::IdempotencyKeyReused])))))]
pub async fn create(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    IdempotencyHeader(key): IdempotencyHeader,
    Json(wanted): Json<CreateVm>,
) -> Result<Response, Problem> {
    let accepted = service::create(&scope, state.db(), &NewVm::from(wanted), key.as_deref()).await?;
    let location = [(header::LOCATION, format!("/api/v1/vms/{}", accepted.vm.id))];
    Ok((StatusCode::ACCEPTED, location, Json(AcceptedVm::from(accepted))).into_response())
}

/// Show a machine
#[utoipa::path(get, path = "/vms/{id}", operation_id = "get_vm", tag = "vms",
    params(("id" = String, Path, description = "The machine")),
    responses((status = 200, body = VmBody, headers(("ETag")))),
    extensions(("x-permission" = json!(Permission::VmRead.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn get(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathId(id): PathId<VmId>,
) -> Result<Response, Problem> {
    let detail = service::get(&scope, state.db(), id).await?;
    let tag = [(header::ETAG, format!("\"{}\"", detail.vm.version))];
    Ok((tag, Json(VmBody::from(detail))).into_response())
}

/// Delete a machine
///
/// Accepted in every state; a creation under way is called off. Asking again gives the same operation.
#[utoipa::path(delete, path = "/vms/{id}", operation_id = "delete_vm", tag = "vms",
    params(("id" = String, Path, description = "The machine")),
    responses((status = 202, body = AcceptedVm, headers(("Location"))), (status = 204)),
    extensions(("x-permission" = json!(Permission::VmDelete.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound, Code::DeletionProtected])))))]
pub async fn delete(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathId(id): PathId<VmId>,
) -> Result<Response, Problem> {
    match service::delete(&scope, state.db(), id).await? {
        Deletion::Accepted(accepted) => {
            let location = [(header::LOCATION, format!("/api/v1/vms/{id}"))];
            Ok((StatusCode::ACCEPTED, location, Json(AcceptedVm::from(*accepted))).into_response())
        }
        Deletion::AlreadyDeleted => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// Read what happened to a machine
///
/// The newest entry first; with `after` the oldest first, from that entry on.
#[utoipa::path(get, path = "/vms/{id}/logs", operation_id = "list_vm_logs", tag = "vms",
    params(("id" = String, Path, description = "The machine"), PageQuery, LogsQuery),
    responses((status = 200, body = PageBody<EventItem>)),
    extensions(("x-permission" = json!(Permission::VmReadLogs.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn logs(
    State(state): State<AppState>,
    Scoped(scope): Scoped,
    PathId(id): PathId<VmId>,
    Paging(request): Paging,
    Query(query): Query<LogsQuery>,
) -> Result<Json<PageBody<EventItem>>, Problem> {
    let wanted = match query.after()? {
        Some(seq) => LogQuery::After {
            seq,
            limit: request.limit(),
        },
        None => LogQuery::Newest(request),
    };
    let (items, total) = service::logs(&scope, state.db(), id, wanted).await?;
    Ok(Json(PageBody::of(Page { items, total, request }, EventItem::from)))
}
