//! `/tenants/{id}/export`, `/tenants/{id}/exports`, `/tenants/import`: a tenant as a file, and a file as a new tenant.

use std::io::SeekFrom;

use axum::{
    body::Body,
    extract::{FromRequest as _, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bulkhead_audit::Actor;
use bulkhead_iam::permissions::Permission;
use bulkhead_kernel::{
    fault::Code,
    ids::{ExportId, ImportId, TenantId},
};
use bulkhead_tenants::archives::{Export, Import, ImportRequest, Imported, Requested, State as Stage, service};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _},
};
use tokio_util::io::ReaderStream;
use utoipa::{IntoParams, ToSchema};

use super::{range::Range, tenants::check_same_tenant};
use crate::{
    extract::{IdempotencyHeader, Json, Operator, PathId, PathIds, Query, SignedIn, media_type},
    openapi::{OPERATOR, codes},
    problem::Problem,
    state::AppState,
};

/// The media type of an archive.
const TAR: &str = "application/x-tar";

/// What is read from the disk at once.
const PIECE: usize = 64 * 1024;

/// An export on its way.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"id": "exp_0190a1b2c3d4e5f60718293a4b5c6d7e", "status": "waiting",
    "job_id": "job_0190a1b2c3d4e5f60718293a4b5c6d7e"}))]
pub struct RequestedExport {
    id: String,
    status: &'static str,
    /// The job that writes it.
    job_id: String,
}

/// How far an export is.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"id": "exp_0190a1b2c3d4e5f60718293a4b5c6d7e", "status": "ready", "tables_done": 12, "tables_total": 12,
    "rows": 200_431, "bytes": 31_457_280, "manifest_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "error": null, "created_at": "2026-11-20T12:00:00Z", "finished_at": "2026-11-20T12:00:09Z",
    "expires_at": "2026-11-27T12:00:09Z"}))]
pub struct ExportBody {
    id: String,
    /// `waiting`, `running`, `ready` or `failed`.
    status: &'static str,
    /// Files that are written.
    tables_done: i32,
    /// Files in all, once that is known.
    tables_total: Option<i32>,
    rows: i64,
    /// Of the archive, so far.
    bytes: i64,
    /// SHA-256 of the manifest, which names that of every other file.
    manifest_sha256: Option<String>,
    /// Why it failed.
    error: Option<String>,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
    /// When the archive is removed.
    expires_at: Option<DateTime<Utc>>,
}

impl From<Export> for ExportBody {
    fn from(export: Export) -> Self {
        Self {
            id: export.id.to_string(),
            status: export.state.as_str(),
            tables_done: export.tables_done,
            tables_total: export.tables_total,
            rows: export.n_rows,
            bytes: export.n_bytes,
            manifest_sha256: export.manifest_sha256(),
            error: export.error,
            created_at: export.created_at,
            finished_at: export.finished_at,
            expires_at: export.expires_at,
        }
    }
}

/// An archive that lies here.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"export_id": "exp_0190a1b2c3d4e5f60718293a4b5c6d7e"}))]
pub struct ImportFrom {
    /// An export that is ready.
    #[schema(value_type = String)]
    export_id: ExportId,
}

/// How the new tenant is to be.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ImportQuery {
    /// What it is called; as in the archive where it is left out
    name: Option<String>,
    /// Its slug; as in the archive, made free, where it is left out
    slug: Option<String>,
    /// `none`: nobody of the archive is let in, and the operator owns the tenant; `relink`: its members are members again
    members: Option<String>,
}

/// A tenant on its way out of an archive.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"id": "org_0190a1b2c3d4e5f60718293a4b5c6d7e", "name": "Acme", "slug": "acme-sandbox",
    "status": "pending", "import_id": "imp_0190a1b2c3d4e5f60718293a4b5c6d7e", "job_id": "job_0190a1b2c3d4e5f60718293a4b5c6d7e"}))]
pub struct ImportedTenant {
    id: String,
    name: String,
    slug: String,
    status: &'static str,
    /// Tells how it ends.
    import_id: Option<String>,
    /// The job that makes it.
    job_id: String,
}

/// How an import stands.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"id": "imp_0190a1b2c3d4e5f60718293a4b5c6d7e", "tenant_id": "org_0190a1b2c3d4e5f60718293a4b5c6d7e",
    "status": "done", "code": null, "error": null, "created_at": "2026-11-20T12:00:00Z", "finished_at": "2026-11-20T12:00:09Z"}))]
pub struct ImportBody {
    id: String,
    /// The tenant; none once the import failed.
    tenant_id: Option<String>,
    /// `running`, `done` or `failed`.
    status: &'static str,
    /// The problem code it failed with.
    code: Option<String>,
    /// Why it failed.
    error: Option<String>,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

impl From<Import> for ImportBody {
    fn from(import: Import) -> Self {
        Self {
            id: import.id.to_string(),
            tenant_id: import.tenant.map(|tenant| tenant.to_string()),
            status: import.state.as_str(),
            code: import.error_code,
            error: import.error,
            created_at: import.created_at,
            finished_at: import.finished_at,
        }
    }
}

/// Refuses everybody but owners and operators; gives as what the caller acts.
async fn authorize(state: &AppState, caller: &SignedIn, tenant: TenantId) -> Result<Actor, Problem> {
    match service::authorize(state.iam(), caller.principal.identity, tenant).await? {
        service::Ground::Owner(membership) => {
            check_same_tenant(caller, &membership.tenant)?;
            Ok(Actor::member(caller.principal.identity))
        }
        service::Ground::Operator => Ok(Actor::operator(&caller.origin)),
    }
}

/// Export a tenant
///
/// For its owners and for operators, also while it is suspended. One archive at a time is written for a tenant.
#[utoipa::path(post, path = "/{id}/export", operation_id = "export_tenant", tag = "archives",
    params(("id" = String, Path, description = "The tenant")),
    responses((status = 202, body = RequestedExport, headers(("Location")))),
    extensions(("x-permission" = json!(Permission::TenantExport.as_str())), ("x-problem-codes" = json!(codes(&[Code::TenantNotFound, Code::Forbidden,
        Code::TenantNotActive, Code::ExportInProgress])))))]
pub async fn export(
    State(state): State<AppState>,
    signed_in: SignedIn,
    PathId(id): PathId<TenantId>,
) -> Result<Response, Problem> {
    let actor = authorize(&state, &signed_in, id).await?;
    let by = (signed_in.principal.identity, actor);
    let requested = service::export(&signed_in.origin, state.db(), state.archives(), state.clock(), by, id).await?;
    let Requested { id: export, job } = requested;
    let location = [(header::LOCATION, format!("/api/v1/tenants/{id}/exports/{export}"))];
    let body = RequestedExport {
        id: export.to_string(),
        status: Stage::Waiting.as_str(),
        job_id: job.to_string(),
    };
    Ok((StatusCode::ACCEPTED, location, Json(body)).into_response())
}

/// Show how far an export is
#[utoipa::path(get, path = "/{id}/exports/{export}", operation_id = "get_export", tag = "archives",
    params(("id" = String, Path, description = "The tenant"), ("export" = String, Path, description = "The export")),
    responses((status = 200, body = ExportBody)),
    extensions(("x-permission" = json!(Permission::TenantExport.as_str())), ("x-problem-codes" = json!(codes(&[Code::TenantNotFound, Code::Forbidden,
        Code::NotFound])))))]
pub async fn get_export(
    State(state): State<AppState>,
    signed_in: SignedIn,
    ids: PathIds<TenantId, ExportId>,
) -> Result<Json<ExportBody>, Problem> {
    let PathIds(id, export) = ids;
    authorize(&state, &signed_in, id).await?;
    let export = service::get_export(state.db(), id, export).await?;
    Ok(Json(export.into()))
}

/// Download an archive
///
/// A tar file. A download that broke off goes on with `Range`, and `If-Range` with the `ETag` of the first part.
#[utoipa::path(get, path = "/{id}/exports/{export}/download", operation_id = "download_export", tag = "archives",
    params(("id" = String, Path, description = "The tenant"), ("export" = String, Path, description = "The export"),
        ("Range" = Option<String>, Header, description = "One range of bytes", example = "bytes=1048576-"),
        ("If-Range" = Option<String>, Header, description = "The `ETag` the range belongs to")),
    responses((status = 200, content((Vec<u8> = "application/x-tar", example = json!("a tar file"))), headers(("ETag"), ("Accept-Ranges"))),
        (status = 206, content((Vec<u8> = "application/x-tar", example = json!("a part of it"))), headers(("ETag"), ("Content-Range")))),
    extensions(("x-permission" = json!(Permission::TenantExport.as_str())), ("x-problem-codes" = json!(codes(&[Code::TenantNotFound, Code::Forbidden,
        Code::NotFound, Code::ExportNotReady, Code::RangeNotSatisfiable])))))]
pub async fn download(
    State(state): State<AppState>,
    signed_in: SignedIn,
    ids: PathIds<TenantId, ExportId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let PathIds(id, export) = ids;
    let actor = authorize(&state, &signed_in, id).await?;
    let (export, file) = service::open(state.db(), state.archives(), id, export).await?;
    service::record_download(&signed_in.origin, state.db(), actor, id, export.id).await?;
    send(&export, file, &headers).await
}

async fn send(export: &Export, mut file: File, headers: &HeaderMap) -> Result<Response, Problem> {
    let broken = |error: std::io::Error| Problem::internal(format!("an archive cannot be read: {error}"));
    let len = file.metadata().await.map_err(broken)?.len();
    let etag = format!("\"{}\"", export.manifest_sha256().unwrap_or_default());
    let range = Range::of(headers, &etag, len);
    let mut answer = Response::new(Body::empty());
    let fields = answer.headers_mut();
    let mut set = |name, text: String| {
        let value = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        fields.insert(name, value);
    };
    if range == Range::Unsatisfiable {
        let mut problem = Problem::new(Code::RangeNotSatisfiable).into_response();
        let all = HeaderValue::try_from(format!("bytes */{len}"));
        problem
            .headers_mut()
            .extend(all.ok().map(|all| (header::CONTENT_RANGE, all)));
        return Ok(problem);
    }
    set(header::CONTENT_TYPE, TAR.into());
    set(header::ETAG, etag);
    set(header::ACCEPT_RANGES, "bytes".into());
    set(
        header::CONTENT_DISPOSITION,
        format!("attachment; filename=\"{}.tar\"", export.id),
    );
    let (first, n_bytes) = match range {
        Range::Part { first, last } => {
            set(header::CONTENT_RANGE, format!("bytes {first}-{last}/{len}"));
            (first, last - first + 1)
        }
        _ => (0, len),
    };
    set(header::CONTENT_LENGTH, n_bytes.to_string());
    if matches!(range, Range::Part { .. }) {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    file.seek(SeekFrom::Start(first)).await.map_err(broken)?;
    *answer.body_mut() = Body::from_stream(ReaderStream::with_capacity(file.take(n_bytes), PIECE));
    Ok(answer)
}

/// Make a new tenant from an archive
///
/// The body is the archive itself, or names an export that lies here. It is checked whole before anything is written.
#[utoipa::path(post, path = "/import", operation_id = "import_tenant", tag = "archives",
    params(ImportQuery, ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters")),
    request_body(content((ImportFrom = "application/json"), (Vec<u8> = "application/x-tar", example = json!("a tar file")))),
    responses((status = 202, body = ImportedTenant, headers(("Location")))),
    extensions(("x-permission" = json!(OPERATOR)), ("x-problem-codes" = json!(codes(&[Code::ArchiveInvalid, Code::NotFound,
        Code::ArchiveVersionNotServed, Code::ArchiveTooLarge, Code::ExportNotReady, Code::SlugTaken, Code::ClusterFull, Code::IdempotencyKeyReused,
        Code::IdempotencyInProgress])))))]
pub async fn import(
    State(state): State<AppState>,
    Operator(caller): Operator,
    Query(wanted): Query<ImportQuery>,
    IdempotencyHeader(key): IdempotencyHeader,
    request: Request,
) -> Result<Response, Problem> {
    let (name, slug) = (wanted.name.as_deref(), wanted.slug.as_deref());
    let wanted = ImportRequest::parse(name, slug, wanted.members.as_deref(), key.as_deref())?;
    let upload = if media_type(request.headers()) == TAR {
        service::receive(state.archives(), request.into_body().into_data_stream()).await?
    } else {
        let Json(from) = Json::<ImportFrom>::from_request(request, &state).await?;
        service::reuse(state.db(), state.archives(), from.export_id).await?
    };
    let by = caller.principal.identity;
    let imported = service::import(&caller.origin, state.db(), by, upload, &wanted).await?;
    Ok(accepted(imported))
}

fn accepted(imported: Imported) -> Response {
    let location = imported.import.map(|id| format!("/api/v1/tenants/imports/{id}"));
    let location = location.and_then(|path| HeaderValue::try_from(path).ok());
    let body = ImportedTenant {
        id: imported.tenant.to_string(),
        name: imported.name,
        slug: imported.slug,
        status: "pending",
        import_id: imported.import.map(|id| id.to_string()),
        job_id: imported.job.to_string(),
    };
    let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
    response
        .headers_mut()
        .extend(location.map(|path| (header::LOCATION, path)));
    response
}

/// Show how an import stands
#[utoipa::path(get, path = "/imports/{import}", operation_id = "get_import", tag = "archives",
    params(("import" = String, Path, description = "The import")), responses((status = 200, body = ImportBody)),
    extensions(("x-permission" = json!(OPERATOR)), ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn get_import(
    State(state): State<AppState>,
    _operator: Operator,
    PathId(import): PathId<ImportId>,
) -> Result<Json<ImportBody>, Problem> {
    let import = service::get_import(state.db(), import).await?;
    Ok(Json(import.into()))
}
