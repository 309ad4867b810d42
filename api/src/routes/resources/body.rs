//! What goes over the wire about things.

use bulkhead_kernel::{fault::Violation, page::PageRequest};
use bulkhead_resources::{Attributes, Changes, NewResource, Resource, ResourceQuery, Sort};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::problem::Problem;

/// A thing that somebody wants.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"type": "disk", "name": "fast", "attributes": {"size_gb": 20, "tags": ["ssd"]}}))]
pub struct CreateResource {
    /// A lower-case letter and up to 49 lower-case letters, digits and underscores.
    #[serde(rename = "type")]
    kind: String,
    /// 1 to 100 characters; unique among those of the type, whatever its case.
    name: String,
    /// Any members, at most 8 deep and 16 KiB.
    #[serde(default)]
    #[schema(value_type = Object)]
    attributes: Attributes,
}

impl From<CreateResource> for NewResource {
    fn from(wanted: CreateResource) -> Self {
        Self {
            kind: wanted.kind,
            name: wanted.name,
            attributes: wanted.attributes,
        }
    }
}

/// A change of a thing; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "faster", "attributes": {"size_gb": 40}}))]
pub struct UpdateResource {
    /// 1 to 100 characters.
    name: Option<String>,
    /// All attributes from now on.
    #[schema(value_type = Option<Object>)]
    attributes: Option<Attributes>,
}

impl From<UpdateResource> for Changes {
    fn from(wanted: UpdateResource) -> Self {
        Self {
            name: wanted.name,
            attributes: wanted.attributes,
        }
    }
}

/// Which things, and in which order.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ResourceFilter {
    /// Of this type alone
    #[serde(rename = "type")]
    #[param(rename = "type")]
    kind: Option<String>,
    /// Part of the name, whatever its case
    search: Option<String>,
    /// `name`, `created_at` or `updated_at`; backwards with `-` before it
    #[param(default = "-created_at")]
    sort: Option<String>,
}

impl ResourceFilter {
    pub(super) fn query(self, page: PageRequest) -> Result<ResourceQuery, Problem> {
        let sort = self.sort.as_deref().map(Sort::parse).transpose();
        let sort = sort.map_err(|violation: Violation| Problem::invalid(vec![violation]))?;
        Ok(ResourceQuery {
            kind: self.kind,
            search: self.search,
            sort: sort.unwrap_or_default(),
            page,
        })
    }
}

/// A thing.
#[derive(Serialize, ToSchema)]
#[schema(as = Resource, example = json!({"id": "res_0190a1b2c3d4e5f60718293a4b5c6d7e", "type": "disk", "name": "fast",
    "attributes": {"size_gb": 20, "tags": ["ssd"]}, "version": 1, "created_by": "usr_0190a1b2c3d4e5f60718293a4b5c6d7e",
    "created_at": "2026-11-20T12:00:00Z", "updated_at": "2026-11-20T12:00:00Z"}))]
pub struct ResourceBody {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[schema(value_type = Object)]
    attributes: Attributes,
    /// Rises with every change; the `ETag` is made of it.
    version: i64,
    created_by: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Resource> for ResourceBody {
    fn from(resource: Resource) -> Self {
        Self {
            id: resource.id.to_string(),
            kind: resource.kind,
            name: resource.name,
            attributes: resource.attributes,
            version: resource.version,
            created_by: resource.created_by,
            created_at: resource.created_at,
            updated_at: resource.updated_at,
        }
    }
}
