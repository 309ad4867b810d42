//! `/tenants`, also `/orgs`: the tenants of a person, signing a new one up, and watching it being built.

use std::time::Duration;

use axum::{
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bulkhead_iam::permissions::Permission;
use bulkhead_kernel::{
    fault::Code,
    ids::{IdentityId, TenantId},
};
use bulkhead_tenancy::TenantSelector;
use bulkhead_tenants::{
    Changes, Created, Document, Membership, NewTenant, Profile, Suspension, Tenant, TenantError, TenantStatus, profile,
    service,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use utoipa::ToSchema;

use crate::{
    extract::{IdempotencyHeader, IfMatch, Json, PathId, SignedIn, Wait, etag},
    openapi::{SIGNED_IN, codes},
    problem::Problem,
    state::AppState,
};

/// Between two looks at a tenant that somebody waits for; onboarding takes a fraction of a second.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// What is left of a request's time when a wait ends at the latest.
const LAST_MOMENT: Duration = Duration::from_secs(1);

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// A tenant that somebody wants.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Acme", "slug": "acme"}))]
pub struct CreateTenant {
    /// 1 to 100 characters.
    name: String,
    /// 2 to 63 lower-case letters, digits and single dashes, beginning with a letter; made from the name otherwise.
    slug: Option<String>,
}

/// A tenant on its way.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"id": "org_0190a1b2c3d4e5f60718293a4b5c6d7e", "name": "Acme", "slug": "acme",
    "status": "pending", "job_id": "job_0190a1b2c3d4e5f60718293a4b5c6d7e"}))]
pub struct CreatedTenant {
    id: String,
    name: String,
    slug: String,
    /// `pending`, or `active` after a wait that was long enough.
    status: &'static str,
    /// The job that builds it.
    job_id: String,
}

/// A tenant of the caller.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"id": "org_0190a1b2c3d4e5f60718293a4b5c6d7e", "name": "Acme", "slug": "acme",
    "status": "active", "role": "owner", "created_at": "2026-11-20T12:00:00Z"}))]
pub struct TenantItem {
    id: String,
    name: String,
    slug: String,
    /// `pending`, `active`, `suspended` or `deleting`.
    status: &'static str,
    /// The caller's leading role in it.
    role: String,
    created_at: DateTime<Utc>,
}

impl From<Membership> for TenantItem {
    fn from(membership: Membership) -> Self {
        let tenant = membership.tenant;
        Self {
            id: tenant.id.to_string(),
            name: tenant.name,
            slug: tenant.slug,
            status: tenant.status.as_str(),
            role: membership.role,
            created_at: tenant.created_at,
        }
    }
}

/// A tenant in full.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"id": "org_0190a1b2c3d4e5f60718293a4b5c6d7e", "name": "Acme", "slug": "acme",
    "status": "suspended", "suspension": "read_only", "role": "owner", "settings": {"locale": "de"},
    "custom_fields": {"plan": "gold"}, "created_at": "2026-11-20T12:00:00Z"}))]
pub struct TenantBody {
    id: String,
    name: String,
    slug: String,
    /// `pending`, `active`, `suspended` or `deleting`.
    status: &'static str,
    /// `read_only` or `full`, where it is suspended.
    #[serde(skip_serializing_if = "Option::is_none")]
    suspension: Option<&'static str>,
    /// When its data goes for good, where it is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    purge_at: Option<DateTime<Utc>>,
    /// The caller's leading role in it, where the caller is a member.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[schema(value_type = Object)]
    settings: Document,
    #[schema(value_type = Object)]
    custom_fields: Document,
    created_at: DateTime<Utc>,
}

impl TenantBody {
    pub(super) fn of(profile: Profile, role: Option<String>) -> Self {
        let tenant = profile.tenant;
        Self {
            id: tenant.id.to_string(),
            name: tenant.name,
            slug: tenant.slug,
            status: tenant.status.as_str(),
            suspension: profile.suspension.map(Suspension::as_str),
            purge_at: profile.purge_at,
            role,
            settings: profile.settings,
            custom_fields: profile.custom_fields,
            created_at: tenant.created_at,
        }
    }
}

/// A change of a tenant; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Acme Ltd", "slug": "acme-ltd", "settings": {"locale": "de", "theme": null}}))]
pub struct UpdateTenant {
    /// 1 to 100 characters.
    name: Option<String>,
    /// 2 to 63 lower-case letters, digits and single dashes, beginning with a letter.
    slug: Option<String>,
    /// A merge patch.
    #[schema(value_type = Option<Object>)]
    settings: Option<Document>,
    /// A merge patch.
    #[schema(value_type = Option<Object>)]
    custom_fields: Option<Document>,
}

/// List the tenants the caller may enter
#[utoipa::path(get, path = "", operation_id = "list_tenants", tag = "tenants",
    responses((status = 200, body = Vec<TenantItem>)), extensions(("x-permission" = json!(SIGNED_IN))))]
pub async fn list(State(state): State<AppState>, signed_in: SignedIn) -> Result<Json<Vec<TenantItem>>, Problem> {
    let memberships = service::list(state.db(), signed_in.principal.identity).await?;
    Ok(Json(memberships.into_iter().map(TenantItem::from).collect()))
}

/// Sign a new tenant up
///
/// Its compartment is built in the background; `Prefer: wait=10` waits for it and answers 201 when it is ready in time.
#[utoipa::path(post, path = "", operation_id = "create_tenant", tag = "tenants",
    params(("Prefer" = Option<String>, Header, description = "`wait=N`: seconds to wait for the tenant, up to 25",
        example = "wait=10"), ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters")),
    responses((status = 201, body = CreatedTenant, headers(("Location"))),
        (status = 202, body = CreatedTenant, headers(("Location")))),
    extensions(("x-permission" = json!(SIGNED_IN)), ("x-problem-codes" = json!(codes(&[Code::SlugTaken, Code::ClusterFull, Code::IdempotencyKeyReused,
        Code::IdempotencyInProgress])))))]
pub async fn create(
    State(state): State<AppState>,
    signed_in: SignedIn,
    Wait(wait): Wait,
    IdempotencyHeader(key): IdempotencyHeader,
    Json(wanted): Json<CreateTenant>,
) -> Result<Response, Problem> {
    let new = NewTenant::parse(&wanted.name, wanted.slug.as_deref(), key.as_deref()).map_err(Problem::invalid)?;
    let founder = signed_in.principal.identity;
    let created = service::create(&signed_in.origin, state.db(), founder, &new).await?;
    // The answer has to be on its way before the deadline of the whole request.
    let wait = wait.map(|wait| wait.min(state.server().request_timeout.saturating_sub(LAST_MOMENT)));
    let status = match wait {
        Some(wait) => settled(&state, founder, created.id, wait).await?,
        None => TenantStatus::Pending,
    };
    Ok(answer(&created, new.name.as_str(), status, wait))
}

/// With its tag, which a change of it can name.
fn tagged(profile: Profile, role: String) -> Response {
    let tag = [(header::ETAG, etag(profile.version()))];
    (tag, Json(TenantBody::of(profile, Some(role)))).into_response()
}

/// Show a tenant of the caller
#[utoipa::path(get, path = "/{id}", operation_id = "get_tenant", tag = "tenants",
    params(("id" = String, Path, description = "The tenant")),
    responses((status = 200, body = TenantBody, headers(("ETag")))),
    extensions(("x-permission" = json!(SIGNED_IN)), ("x-problem-codes" = json!(codes(&[Code::TenantNotFound])))))]
pub async fn get(
    State(state): State<AppState>,
    signed_in: SignedIn,
    PathId(id): PathId<TenantId>,
) -> Result<Response, Problem> {
    let membership = service::get(state.db(), signed_in.principal.identity, id).await?;
    check_same_tenant(&signed_in, &membership.tenant)?;
    let profile = profile::service::get(state.db(), id).await?;
    Ok(tagged(profile, membership.role))
}

/// Change a tenant
///
/// What is left out stays. `settings` and `custom_fields` are merge patches (RFC 7396): a member that is `null` goes. The
/// old slug is free at once.
#[utoipa::path(patch, path = "/{id}", operation_id = "update_tenant", tag = "tenants",
    params(("id" = String, Path, description = "The tenant"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` last seen")),
    responses((status = 200, body = TenantBody, headers(("ETag")))),
    extensions(("x-permission" = json!(Permission::TenantUpdate.as_str())),
        ("x-problem-codes" = json!(codes(&[Code::SlugTaken, Code::PreconditionFailed, Code::TenantReadOnly])))))]
pub async fn update(
    State(state): State<AppState>,
    signed_in: SignedIn,
    PathId(id): PathId<TenantId>,
    IfMatch(seen): IfMatch,
    Json(wanted): Json<UpdateTenant>,
) -> Result<Response, Problem> {
    let membership = service::get(state.db(), signed_in.principal.identity, id).await?;
    check_same_tenant(&signed_in, &membership.tenant)?;
    let (name, slug) = (wanted.name.as_deref(), wanted.slug.as_deref());
    let changes = Changes::parse(name, slug, wanted.settings, wanted.custom_fields).map_err(Problem::invalid)?;
    let caller = &signed_in.principal;
    let profile =
        profile::service::update(&signed_in.origin, state.iam(), caller, id, seen.as_deref(), &changes).await?;
    Ok(tagged(profile, membership.role))
}

/// The tenant of the path must not be another than that of the token or the header. A founder may go on with an older
/// token: when it was made nobody could have bound it to the new tenant.
pub(super) fn check_same_tenant(signed_in: &SignedIn, tenant: &Tenant) -> Result<(), Problem> {
    let is_bound_elsewhere = signed_in.bound.is_some_and(|bound| bound != tenant.id);
    let is_named_elsewhere = match &signed_in.named {
        Some(TenantSelector::Id(named)) => *named != tenant.id,
        Some(TenantSelector::Slug(named)) => named.as_str() != tenant.slug,
        None => false,
    };
    let is_younger = tenant.created_at >= signed_in.issued_at;
    if is_named_elsewhere || (is_bound_elsewhere && !is_younger) {
        return Err(Problem::new(Code::TenantMismatch));
    }
    Ok(())
}

/// The status once it is no longer pending, or when the caller's patience or this process ends.
async fn settled(
    state: &AppState,
    founder: IdentityId,
    tenant: TenantId,
    patience: Duration,
) -> Result<TenantStatus, TenantError> {
    let until = Instant::now() + patience;
    loop {
        let status = service::get(state.db(), founder, tenant).await?.tenant.status;
        let is_over = Instant::now() + LOOK_EVERY > until || state.readiness().is_draining();
        if status != TenantStatus::Pending || is_over {
            return Ok(status);
        }
        sleep(LOOK_EVERY).await;
    }
}

fn answer(created: &Created, name: &str, status: TenantStatus, wait: Option<Duration>) -> Response {
    let code = if status == TenantStatus::Active {
        StatusCode::CREATED
    } else {
        StatusCode::ACCEPTED
    };
    let location = [(header::LOCATION, format!("/api/v1/tenants/{}", created.id))];
    let body = CreatedTenant {
        id: created.id.to_string(),
        name: name.to_owned(),
        slug: created.slug.to_string(),
        status: status.as_str(),
        job_id: created.job.to_string(),
    };
    let mut response = (code, location, Json(body)).into_response();
    if let Some(applied) = wait.and_then(|wait| HeaderValue::try_from(format!("wait={}", wait.as_secs())).ok()) {
        response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    response
}
