//! Every route on one screen, grouped by who calls it. The paths and methods stand at the handlers, from where the
//! OpenAPI document is made as well.

use axum::{Router, middleware::from_fn_with_state, routing::get};
use bulkhead_kernel::config;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    middleware::{Observer, Refusals, cors, guard, note_refusals, observe},
    openapi,
    routes::{
        api_keys, archives, audit_log, auth, clusters, credentials, docs, doctor, invitations, jobs, lifecycle,
        migrations, moves, onboarding, operators, permissions, platform, platform_jobs, resources, roles, schedules,
        service, sessions, support_access, tenant_users, tenants, users, vm_templates, vms, webhooks, whoami,
    },
    state::{AppState, RequestLimits},
};

/// Where the versioned API begins.
const V1: &str = "/api/v1";

/// The public API with everything that surrounds it.
pub fn build(state: AppState) -> Router {
    let (documented, _) = documented().split_for_parts();
    let router = documented
        // People with a browser; no part of the API.
        .route("/openapi.json", get(docs::openapi))
        .route("/docs", get(docs::to_page))
        .route("/docs/", get(docs::page))
        .route("/docs/{*file}", get(docs::asset))
        .route("/problems", get(docs::problems))
        .nest(&format!("{V1}/orgs"), tenants().into())
        .layer(from_fn_with_state(Refusals::of(state.clone()), note_refusals));
    let settings = state.server().clone();
    surround(router, state, &settings)
}

/// What the internal listener serves: metrics for the scraper, probes for the orchestrator.
pub fn internal(state: AppState) -> Router {
    let router = Router::new()
        .route("/metrics", get(service::metrics))
        .route("/livez", get(service::livez))
        .route("/readyz", get(service::readyz));
    let settings = state.server().clone();
    surround(router, state, &settings)
}

/// The routes that the OpenAPI document describes.
pub(crate) fn documented() -> OpenApiRouter<AppState> {
    let api = OpenApiRouter::default()
        .merge(for_anyone())
        .merge(for_the_signed_in())
        .nest("/tenants", tenants())
        .merge(for_members())
        .nest("/platform", for_operators());
    OpenApiRouter::with_openapi(openapi::skeleton())
        .merge(for_machines())
        .nest(V1, api)
}

/// Load balancers, monitors and those who check our tokens.
fn for_machines() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(service::index))
        .routes(routes!(service::health))
        .routes(routes!(service::livez))
        .routes(routes!(service::readyz))
        .routes(routes!(service::jwks))
}

/// Callers who need not be signed in.
fn for_anyone() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(service::api_health))
        .routes(routes!(service::db_ping))
        .routes(routes!(auth::register))
        .routes(routes!(auth::token))
        .routes(routes!(auth::login))
        .routes(routes!(auth::refresh))
        .routes(routes!(credentials::verify_email))
        .routes(routes!(credentials::resend_verification))
        .routes(routes!(credentials::forgot))
        .routes(routes!(credentials::reset))
        .routes(routes!(invitations::lookup))
        .routes(routes!(invitations::accept))
        .routes(routes!(api_keys::report_leak))
}

/// People, in whatever tenant.
fn for_the_signed_in() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(auth::logout))
        .routes(routes!(credentials::change))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::end))
        .routes(routes!(users::me, users::update_me))
}

/// People, about the tenants they belong to, and operators about anybody's; below `/tenants` and `/orgs`.
fn tenants() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(tenants::list, tenants::create))
        .routes(routes!(tenants::get, tenants::update, lifecycle::delete))
        .routes(routes!(onboarding::get))
        .routes(routes!(lifecycle::suspend))
        .routes(routes!(lifecycle::resume))
        .routes(routes!(lifecycle::restore))
        .routes(routes!(archives::export))
        .routes(routes!(archives::get_export))
        .routes(routes!(archives::download))
        .routes(routes!(archives::import))
        .routes(routes!(archives::get_import))
        .routes(routes!(tenant_users::list, tenant_users::create))
        .routes(routes!(tenant_users::get, tenant_users::update, tenant_users::delete))
        .routes(routes!(tenant_users::assign_role))
        .routes(routes!(tenant_users::unassign_role))
}

/// Members and API keys of the active tenant, each call with its permission.
fn for_members() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(whoami::get))
        .routes(routes!(users::list, users::create))
        .routes(routes!(users::get, users::update, users::delete))
        .routes(routes!(permissions::list))
        .routes(routes!(roles::list, roles::create))
        .routes(routes!(roles::get, roles::update, roles::delete))
        .routes(routes!(
            roles::list_permissions,
            roles::set_permissions,
            roles::add_permissions
        ))
        .routes(routes!(roles::remove_permission))
        .routes(routes!(roles::list_users, roles::set_users))
        .routes(routes!(invitations::list, invitations::create))
        .routes(routes!(invitations::get, invitations::update, invitations::delete))
        .routes(routes!(invitations::resend))
        .routes(routes!(api_keys::list, api_keys::create))
        .routes(routes!(api_keys::get, api_keys::update, api_keys::revoke))
        .routes(routes!(api_keys::rotate))
        .routes(routes!(vm_templates::list))
        .routes(routes!(vms::list, vms::create))
        .routes(routes!(vms::get, vms::delete))
        .routes(routes!(vms::logs))
        .routes(routes!(resources::list, resources::create))
        .routes(routes!(resources::get, resources::update, resources::delete))
        .routes(routes!(webhooks::list, webhooks::create))
        .routes(routes!(webhooks::get, webhooks::update, webhooks::delete))
        .routes(routes!(webhooks::rotate))
        .routes(routes!(webhooks::test))
        .routes(routes!(webhooks::replay))
        .routes(routes!(webhooks::deliveries::list))
        .routes(routes!(webhooks::deliveries::get))
        .routes(routes!(webhooks::deliveries::replay))
        .routes(routes!(webhooks::list_event_types))
        .routes(routes!(jobs::list, jobs::create))
        .routes(routes!(jobs::get))
        .routes(routes!(jobs::download))
        .routes(routes!(jobs::cancel))
        .routes(routes!(jobs::retry))
        .routes(routes!(jobs::watch))
        .routes(routes!(audit_log::list))
        .routes(routes!(audit_log::export))
        .routes(routes!(audit_log::verify))
        .routes(routes!(support_access::list_own))
        .routes(routes!(support_access::end_own))
}

/// Those who run the platform; below `/platform`.
fn for_operators() -> OpenApiRouter<AppState> {
    OpenApiRouter::default()
        .routes(routes!(doctor::isolation))
        .routes(routes!(migrations::list, migrations::start))
        .routes(routes!(migrations::plan))
        .routes(routes!(migrations::drift))
        .routes(routes!(migrations::get))
        .routes(routes!(migrations::pause))
        .routes(routes!(migrations::resume))
        .routes(routes!(migrations::retry))
        .routes(routes!(migrations::watch))
        .routes(routes!(clusters::list))
        .routes(routes!(schedules::list))
        .routes(routes!(schedules::pause))
        .routes(routes!(schedules::resume))
        .routes(routes!(schedules::run_now))
        .routes(routes!(moves::start))
        .routes(routes!(moves::get))
        .routes(routes!(moves::abort))
        .routes(routes!(platform_jobs::list))
        .routes(routes!(platform_jobs::retry_dead))
        .routes(routes!(platform_jobs::get))
        .routes(routes!(platform_jobs::cancel))
        .routes(routes!(platform_jobs::retry))
        .routes(routes!(platform_jobs::queues))
        .routes(routes!(platform::list_receipts))
        .routes(routes!(platform::get_receipt))
        .routes(routes!(platform::get_tenant_schema, platform::set_tenant_schema))
        .routes(routes!(operators::list, operators::create))
        .routes(routes!(operators::get))
        .routes(routes!(operators::deactivate))
        .routes(routes!(operators::reactivate))
        .routes(routes!(support_access::list, support_access::grant))
        .routes(routes!(support_access::end))
        .routes(routes!(audit_log::list_of_platform))
}

/// Puts the layers around the routes; the last one added is the outermost.
fn surround<S: Clone + Send + Sync + 'static>(router: Router<S>, state: S, settings: &config::Server) -> Router {
    let mut router = router
        .fallback(service::unknown_path)
        .method_not_allowed_fallback(service::unknown_method)
        .layer(from_fn_with_state(RequestLimits::of(settings), guard));
    if !settings.cors_allowed_origins.is_empty() {
        router = router.layer(cors(&settings.cors_allowed_origins));
    }
    router
        .layer(from_fn_with_state(Observer::of(settings), observe))
        .with_state(state)
}

#[cfg(test)]
mod tests;
