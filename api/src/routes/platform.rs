//! `/platform`: what operators keep about all tenants.

use axum::extract::State;
use bulkhead_iam::tokens::read_statement;
use bulkhead_kernel::{
    fault::{Code, Violation},
    ids::{ReceiptId, TenantId},
};
use bulkhead_tenants::{Document, Receipt, Schemas, profile, purge};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::page::PageBody;
use crate::{
    extract::{Json, Operator, PageQuery, Paging, PathId, Query},
    openapi::{OPERATOR, codes},
    problem::Problem,
    state::AppState,
};

/// What is left of a purged tenant.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"id": "rcp_0190a1b2c3d4e5f60718293a4b5c6d7e", "tenant_id": "org_0190a1b2c3d4e5f60718293a4b5c6d7e",
    "created_at": "2026-11-20T12:00:00Z", "jws": "eyJ0eXAiOiJwdXJnZS1yZWNlaXB0K2p3cyJ9.eyJzbHVnIjoiYWNtZSJ9.c2lnbmF0dXJl",
    "statement": {"slug": "acme", "reason": "the contract ended", "removed_rows": {"tenant.members": 3}}}))]
pub struct ReceiptBody {
    id: String,
    tenant_id: String,
    created_at: DateTime<Utc>,
    /// The signed statement: a compact JWS (RFC 7515) of type `purge-receipt+jws`, under a key of
    /// `/.well-known/jwks.json`.
    jws: String,
    /// What it says.
    #[schema(value_type = Object)]
    statement: Value,
}

impl From<Receipt> for ReceiptBody {
    fn from(receipt: Receipt) -> Self {
        Self {
            id: receipt.id.to_string(),
            tenant_id: receipt.tenant.to_string(),
            created_at: receipt.created_at,
            statement: read_statement(&receipt.jws).unwrap_or_default(),
            jws: receipt.jws,
        }
    }
}

/// Which receipts.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReceiptQuery {
    /// Only that of the tenant which had this id.
    tenant_id: Option<String>,
}

/// What settings and custom fields of tenants have to look like.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"settings": {"properties": {"locale": {"type": "string", "maxLength": 5}}},
    "custom_fields": {"required": ["plan"], "properties": {"plan": {"enum": ["free", "gold"]}},
    "additionalProperties": false}}))]
pub struct TenantSchema {
    /// A JSON Schema of the keywords `type`, `properties`, `required`, `additionalProperties` (true or false), `enum`,
    /// `minimum`, `maximum`, `minLength`, `maxLength`, `items`, `minItems`, `maxItems`.
    #[schema(value_type = Object)]
    settings: Document,
    /// Another one of those.
    #[schema(value_type = Object)]
    custom_fields: Document,
}

/// List the receipts of purged tenants
#[utoipa::path(get, path = "/receipts", operation_id = "list_receipts", tag = "platform", params(PageQuery, ReceiptQuery),
    responses((status = 200, body = PageBody<ReceiptBody>)), extensions(("x-permission" = json!(OPERATOR))))]
pub async fn list_receipts(
    State(state): State<AppState>,
    _: Operator,
    Paging(page): Paging,
    Query(query): Query<ReceiptQuery>,
) -> Result<Json<PageBody<ReceiptBody>>, Problem> {
    let tenant = query.tenant_id.as_deref().map(str::parse::<TenantId>).transpose();
    let tenant = tenant.map_err(|_| Problem::invalid(vec![Violation::new("tenant_id", "is not a tenant id")]))?;
    let receipts = purge::receipts(state.db(), tenant, page).await?;
    Ok(Json(PageBody::of(receipts, ReceiptBody::from)))
}

/// Show the receipt of a purged tenant
#[utoipa::path(get, path = "/receipts/{id}", operation_id = "get_receipt", tag = "platform",
    params(("id" = String, Path, description = "The receipt")), responses((status = 200, body = ReceiptBody)),
    extensions(("x-permission" = json!(OPERATOR)), ("x-problem-codes" = json!(codes(&[Code::NotFound])))))]
pub async fn get_receipt(
    State(state): State<AppState>,
    _: Operator,
    PathId(id): PathId<ReceiptId>,
) -> Result<Json<ReceiptBody>, Problem> {
    let receipt = purge::receipt(state.db(), id).await?;
    Ok(Json(receipt.into()))
}

/// Show what tenants' settings and custom fields have to look like
#[utoipa::path(get, path = "/tenant-schema", operation_id = "get_tenant_schema", tag = "platform",
    responses((status = 200, body = TenantSchema)), extensions(("x-permission" = json!(OPERATOR))))]
pub async fn get_tenant_schema(State(state): State<AppState>, _: Operator) -> Result<Json<TenantSchema>, Problem> {
    let Schemas {
        settings,
        custom_fields,
    } = profile::service::schemas(state.db()).await?;
    Ok(Json(TenantSchema {
        settings,
        custom_fields,
    }))
}

/// Say what tenants' settings and custom fields have to look like
///
/// What tenants have is checked when they next change it. A keyword that is not kept is refused.
#[utoipa::path(put, path = "/tenant-schema", operation_id = "set_tenant_schema", tag = "platform",
    responses((status = 200, body = TenantSchema)), extensions(("x-permission" = json!(OPERATOR))))]
pub async fn set_tenant_schema(
    State(state): State<AppState>,
    Operator(caller): Operator,
    Json(wanted): Json<TenantSchema>,
) -> Result<Json<TenantSchema>, Problem> {
    let schemas = Schemas {
        settings: wanted.settings,
        custom_fields: wanted.custom_fields,
    };
    profile::service::set_schemas(&caller.origin, state.db(), &schemas).await?;
    Ok(Json(TenantSchema {
        settings: schemas.settings,
        custom_fields: schemas.custom_fields,
    }))
}
