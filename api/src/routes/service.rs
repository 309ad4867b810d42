//! What the service says about itself.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bulkhead_iam::tokens::PublicKey;
use bulkhead_kernel::fault::Code;
use bulkhead_tenancy::SERVED_VERSIONS;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    extract::Json,
    openapi::{PUBLIC, codes},
    problem::Problem,
    state::AppState,
};

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What this is and where to go on.
#[derive(Serialize, ToSchema)]
pub struct Index {
    #[schema(example = "bulkhead")]
    name: &'static str,
    #[schema(example = "0.1.0")]
    version: &'static str,
    schema_versions: SchemaVersions,
    links: Links,
}

/// The versions of a tenant's schema that this process works with; it refuses a tenant outside of them with
/// `tenant_version_not_served`.
#[derive(Serialize, ToSchema)]
pub struct SchemaVersions {
    #[schema(example = 1)]
    oldest: i64,
    #[schema(example = 2)]
    newest: i64,
}

/// Paths on this host.
#[derive(Serialize, ToSchema)]
pub struct Links {
    #[schema(example = "/api/v1")]
    api: &'static str,
    #[schema(example = "/docs")]
    docs: &'static str,
    #[schema(example = "/openapi.json")]
    openapi: &'static str,
    #[schema(example = "/problems")]
    problems: &'static str,
    #[schema(example = "/health")]
    health: &'static str,
    #[schema(example = "/.well-known/jwks.json")]
    jwks: &'static str,
}

/// The process answers.
#[derive(Serialize, ToSchema)]
pub struct Health {
    #[schema(example = "ok")]
    status: &'static str,
    #[schema(example = "0.1.0")]
    version: &'static str,
}

/// Whether to send requests here, and why not, or what it has to do without.
#[derive(Serialize, ToSchema)]
pub struct Ready {
    is_ready: bool,
    #[schema(example = json!([]))]
    reasons: Vec<&'static str>,
}

/// The database answers.
#[derive(Serialize, ToSchema)]
pub struct Ping {
    #[schema(example = "ok")]
    status: &'static str,
    #[schema(example = 0.4)]
    latency_ms: f64,
}

/// The keys, the one that signs first.
#[derive(Serialize, ToSchema)]
pub struct KeySet {
    keys: Vec<Key>,
}

/// A public RSA key in the terms of RFC 7517.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "3q2-7w", "n": "0vx7ag", "e": "AQAB"}))]
pub struct Key {
    kty: &'static str,
    #[serde(rename = "use")]
    purpose: &'static str,
    alg: &'static str,
    kid: String,
    n: String,
    e: String,
}

impl From<&PublicKey> for Key {
    fn from(key: &PublicKey) -> Self {
        Self {
            kty: "RSA",
            purpose: "sig",
            alg: "RS256",
            kid: key.id.clone(),
            n: key.modulus.clone(),
            e: key.exponent.clone(),
        }
    }
}

/// Name, version and links
#[utoipa::path(get, path = "/", operation_id = "get_index", tag = "service", responses((status = 200, body = Index)),
    extensions(("x-permission" = json!(PUBLIC))))]
pub async fn index() -> Json<Index> {
    Json(Index {
        name: "bulkhead",
        version: VERSION,
        schema_versions: SchemaVersions {
            oldest: *SERVED_VERSIONS.start(),
            newest: *SERVED_VERSIONS.end(),
        },
        links: Links {
            api: "/api/v1",
            docs: "/docs",
            openapi: "/openapi.json",
            problems: "/problems",
            health: "/health",
            jwks: "/.well-known/jwks.json",
        },
    })
}

/// Is the process up
#[utoipa::path(get, path = "/health", operation_id = "get_health", tag = "service",
    responses((status = 200, body = Health)), extensions(("x-permission" = json!(PUBLIC))))]
pub async fn health() -> Json<Health> {
    Json(Health {
        status: "ok",
        version: VERSION,
    })
}

/// Is the process up
#[utoipa::path(get, path = "/health", operation_id = "get_api_health", tag = "service",
    responses((status = 200, body = Health)), extensions(("x-permission" = json!(PUBLIC))))]
pub async fn api_health() -> Json<Health> {
    health().await
}

/// Liveness: the process alone
#[utoipa::path(get, path = "/livez", operation_id = "get_liveness", tag = "service",
    responses((status = 200, body = Health)), extensions(("x-permission" = json!(PUBLIC))))]
pub async fn livez() -> Json<Health> {
    health().await
}

/// Readiness: no while the process drains; never because of a dependency that all processes share
///
/// While the home cluster does not answer and tenants of others are served, it is ready, and the reasons say
/// `home_unreachable`.
#[utoipa::path(get, path = "/readyz", operation_id = "get_readiness", tag = "service",
    responses((status = 200, body = Ready), (status = 503, body = Ready)),
    extensions(("x-permission" = json!(PUBLIC))))]
pub async fn readyz(State(state): State<AppState>) -> (StatusCode, Json<Ready>) {
    let mut reasons = state.readiness().reasons();
    let is_ready = reasons.is_empty();
    if state.db().is_home_lost() {
        reasons.push("home_unreachable");
    }
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(Ready { is_ready, reasons }))
}

/// Does the database answer
#[utoipa::path(get, path = "/db-ping", operation_id = "ping_database", tag = "service",
    responses((status = 200, body = Ping)),
    extensions(("x-permission" = json!(PUBLIC)), ("x-problem-codes" = json!(codes(&[Code::DatabaseUnavailable])))))]
pub async fn db_ping(State(state): State<AppState>) -> Result<Json<Ping>, Problem> {
    let latency = state.db().ping().await?;
    Ok(Json(Ping {
        status: "ok",
        latency_ms: latency.as_secs_f64() * 1000.0,
    }))
}

/// The public keys that check access tokens (RFC 7517)
///
/// A key is here for days before it signs, so an answer may be kept for the five minutes that it says.
#[utoipa::path(get, path = "/.well-known/jwks.json", operation_id = "list_keys", tag = "service",
    responses((status = 200, body = KeySet, headers(("ETag"), ("Cache-Control"))), (status = 304)),
    extensions(("x-permission" = json!(PUBLIC))))]
pub async fn jwks(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let keys = state.iam().tokens.jwks();
    // Their ids are thumbprints of the keys: the same ids, the same document.
    let ids: Vec<_> = keys.iter().map(|key| key.id.as_str()).collect();
    let tag = format!("\"{}\"", ids.join("."));
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    let is_known = known
        .filter_map(|value| value.to_str().ok())
        .any(|value| value == "*" || value.contains(&tag));
    let caching = [
        (header::CACHE_CONTROL, "public, max-age=300".to_owned()),
        (header::ETAG, tag),
    ];
    if is_known {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    let keys = keys.iter().map(Key::from).collect();
    (caching, Json(KeySet { keys })).into_response()
}

/// The metrics of this process, for Prometheus; on the internal listener only.
pub async fn metrics(State(state): State<AppState>) -> Response {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], state.metrics().render()).into_response()
}

/// Any path that no route has.
pub async fn unknown_path() -> Problem {
    Problem::with_detail(Code::NotFound, "There is no such path.")
}

/// A path that exists, with a method it does not know; the router adds `Allow`.
pub async fn unknown_method() -> Problem {
    Problem::new(Code::MethodNotAllowed)
}
