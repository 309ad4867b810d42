//! What goes over the wire about roles.

use bulkhead_iam::roles::{Role, RoleError};
use bulkhead_kernel::ids::IdentityId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::routes::permissions::PermissionBody;

/// A role.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"id": "rol_0190a1b2c3d4e5f60718293a4b5c6d7e", "name": "Night shift",
    "description": "Restarts machines.", "is_system_role": false, "user_count": 3}))]
pub struct RoleItem {
    id: String,
    name: String,
    description: String,
    /// Whether it is there from the first day and cannot be changed.
    is_system_role: bool,
    /// How many members have it.
    user_count: i64,
}

impl RoleItem {
    pub(super) fn of(role: &Role) -> Self {
        Self {
            id: role.id.to_string(),
            name: role.name.clone(),
            description: role.description.clone(),
            is_system_role: role.is_system,
            user_count: role.n_users,
        }
    }
}

/// A role with what it allows.
#[derive(Serialize, ToSchema)]
pub struct RoleBody {
    #[serde(flatten)]
    pub(super) role: RoleItem,
    pub(super) permissions: Vec<PermissionBody>,
}

/// A role that somebody wants.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Night shift", "description": "Restarts machines.",
    "permission_ids": ["vm:read", "vm:power_manage"]}))]
pub struct CreateRole {
    /// 1 to 50 characters; unique among the tenant's roles, whatever its case.
    pub(super) name: String,
    /// At most 500 characters.
    #[serde(default)]
    pub(super) description: String,
    /// Of `GET /permissions`, and held by the caller.
    #[serde(default)]
    pub(super) permission_ids: Vec<String>,
}

/// A change of a role; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Day shift", "permission_ids": ["vm:read"]}))]
pub struct UpdateRole {
    /// 1 to 50 characters.
    pub(super) name: Option<String>,
    /// At most 500 characters.
    pub(super) description: Option<String>,
    /// The complete set.
    pub(super) permission_ids: Option<Vec<String>>,
}

/// Permissions of a role.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"permission_ids": ["vm:read", "vm:power_manage"]}))]
pub struct RolePermissions {
    /// Of `GET /permissions`.
    pub(super) permission_ids: Vec<String>,
}

/// Who has a role.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"user_ids": ["usr_0190a1b2c3d4e5f60718293a4b5c6d7e"]}))]
pub struct RoleUsers {
    /// All of them.
    user_ids: Vec<String>,
}

impl RoleUsers {
    pub(super) fn of(holders: &[IdentityId]) -> Self {
        Self {
            user_ids: holders.iter().map(ToString::to_string).collect(),
        }
    }

    /// What is no id is nobody's.
    pub(super) fn ids(&self) -> Result<Vec<IdentityId>, RoleError> {
        let ids = self.user_ids.iter().enumerate();
        ids.map(|(index, id)| id.parse().map_err(|_| RoleError::Unknown(format!("/user_ids/{index}"))))
            .collect()
    }
}
