//! `/permissions`: the catalogue that roles choose from.

use bulkhead_iam::permissions::Permission;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    extract::{Json, Scoped},
    problem::Problem,
};

/// The right to do one thing to one kind of thing.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"id": "vm:read", "name": "See machines", "module": "vm"}))]
pub struct PermissionBody {
    /// `noun:verb`.
    id: String,
    /// A few words for a person who gives or takes it.
    name: String,
    /// The noun.
    module: String,
}

impl PermissionBody {
    /// The permission of this id; one that only a newer release knows is called by its id.
    pub(super) fn of(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            name: Permission::find(id).map_or_else(|| id.to_owned(), |known| known.title().to_owned()),
            module: id.split(':').next().unwrap_or_default().to_owned(),
        }
    }
}

/// List all permissions
///
/// Those of a module stand together.
#[utoipa::path(get, path = "/permissions", operation_id = "list_permissions", tag = "roles",
    responses((status = 200, body = Vec<PermissionBody>)),
    extensions(("x-permission" = json!(Permission::RoleRead.as_str()))))]
pub async fn list(Scoped(scope): Scoped) -> Result<Json<Vec<PermissionBody>>, Problem> {
    scope.require(Permission::RoleRead)?;
    let all = Permission::ALL.iter();
    Ok(Json(
        all.map(|permission| PermissionBody::of(permission.as_str())).collect(),
    ))
}
