//! `/vm-templates`: what machines can be built from.

use axum::extract::State;
use bulkhead_compute::templates::{self, Template};
use bulkhead_iam::permissions::Permission;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    extract::{Json, Scoped},
    problem::Problem,
    state::AppState,
};

/// A template.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"id": "tpl_0190a1b2c3d4e5f60718293a4b5c6d7e", "name": "debian-12", "version": 1,
    "os": "Debian 12", "description": "The stable all-rounder.", "min_cpu": 1, "min_memory_gb": 1, "min_disk_gb": 10,
    "is_deprecated": false}))]
pub struct TemplateItem {
    id: String,
    name: String,
    version: i32,
    os: String,
    description: String,
    /// The smallest machine it fits into.
    min_cpu: i32,
    min_memory_gb: i32,
    min_disk_gb: i32,
    /// Not for new machines any more.
    is_deprecated: bool,
}

impl From<Template> for TemplateItem {
    fn from(template: Template) -> Self {
        Self {
            id: template.id.to_string(),
            name: template.name,
            version: template.version,
            os: template.os,
            description: template.description,
            min_cpu: template.minimum.cpu,
            min_memory_gb: template.minimum.memory_gb,
            min_disk_gb: template.minimum.disk_gb,
            is_deprecated: template.is_deprecated,
        }
    }
}

/// List the templates
#[utoipa::path(get, path = "/vm-templates", operation_id = "list_vm_templates", tag = "vms",
    responses((status = 200, body = Vec<TemplateItem>)),
    extensions(("x-permission" = json!(Permission::VmRead.as_str()))))]
pub async fn list(State(state): State<AppState>, Scoped(scope): Scoped) -> Result<Json<Vec<TemplateItem>>, Problem> {
    let templates = templates::service::list(&scope, state.db()).await?;
    Ok(Json(templates.into_iter().map(TemplateItem::from).collect()))
}
