//! `/whoami`: who the caller is in the active tenant, and what that allows.

use bulkhead_iam::{Principal, Scope, permissions::Permission};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    extract::{FreshlyScoped, Json},
    openapi::MEMBER,
    problem::Problem,
};

/// The caller in the active tenant.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "principal": {"type": "member", "id": "usr_0190a1b2c3d4e5f60718293a4b5c6d7e", "email": "ada@example.com",
        "first_name": "Ada", "last_name": "Lovelace"},
    "tenant": {"id": "org_0190a1b2c3d4e5f60718293a4b5c6d7e", "name": "Acme", "slug": "acme"},
    "roles": ["viewer"], "permissions": ["vm:read"]
}))]
pub struct Whoami {
    principal: PrincipalBody,
    tenant: TenantBody,
    /// The names of the caller's roles.
    roles: Vec<String>,
    /// What they allow together.
    permissions: Vec<&'static str>,
}

/// Who acts.
#[derive(Serialize, ToSchema)]
pub struct PrincipalBody {
    /// `member`, `api_key`, or `operator` with support access.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Of an operator that of the support access.
    id: String,
    /// Of a member or an operator, and the two below.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_name: Option<String>,
    /// What an API key is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

impl From<Principal> for PrincipalBody {
    fn from(principal: Principal) -> Self {
        let (kind, id) = (principal.kind(), principal.id());
        let nobody = Self {
            kind,
            id,
            email: None,
            first_name: None,
            last_name: None,
            name: None,
        };
        match principal {
            Principal::Member(person) => Self {
                email: Some(person.email),
                first_name: Some(person.first_name),
                last_name: Some(person.last_name),
                ..nobody
            },
            Principal::Supporter(supporter) => Self {
                email: Some(supporter.email),
                first_name: Some(supporter.first_name),
                last_name: Some(supporter.last_name),
                ..nobody
            },
            Principal::ApiKey(key) => Self {
                name: Some(key.name),
                ..nobody
            },
        }
    }
}

/// Where.
#[derive(Serialize, ToSchema)]
#[schema(as = ActiveTenant)]
pub struct TenantBody {
    id: String,
    name: String,
    slug: String,
}

impl From<Scope> for Whoami {
    fn from(scope: Scope) -> Self {
        Self {
            permissions: scope.permissions.iter().map(Permission::as_str).collect(),
            roles: scope.roles,
            principal: scope.principal.into(),
            tenant: TenantBody {
                id: scope.tenant.id.to_string(),
                name: scope.tenant.name,
                slug: scope.tenant.slug.to_string(),
            },
        }
    }
}

/// Principal, tenant, roles and permissions
#[utoipa::path(get, path = "/whoami", operation_id = "get_whoami", tag = "auth",
    responses((status = 200, body = Whoami)), extensions(("x-permission" = json!(MEMBER))))]
pub async fn get(FreshlyScoped(scope): FreshlyScoped) -> Result<Json<Whoami>, Problem> {
    Ok(Json(scope.into()))
}
