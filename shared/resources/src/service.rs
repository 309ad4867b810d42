//! What can be done with things.

use bulkhead_iam::{Scope, permissions::Permission};
use bulkhead_kernel::{ids::ResourceId, page::Page};
use bulkhead_tenancy::TenantTx;
use serde_json::Value;
use tracing::instrument;

use crate::{Attributes, Changes, NewResource, Resource, ResourceError, ResourceQuery, idempotency::Key, store};

/// Makes a thing. Under an idempotency key the same request is answered the same way without a second one.
#[instrument(name = "resources.create", skip_all)]
pub async fn create(
    scope: &Scope,
    tx: &mut TenantTx,
    new: &NewResource,
    key: Option<&str>,
) -> Result<Resource, ResourceError> {
    scope.require(Permission::ResourceCreate)?;
    let valid = new.validate().map_err(ResourceError::Invalid)?;
    let key = key.map(|key| Key::new(&scope.origin.principal, key, new)).transpose()?;
    let now = scope.clock.now();
    if let Some(key) = &key
        && let Some(earlier) = key.claim(tx, now).await?
    {
        return Ok(earlier);
    }
    let resource = Resource {
        id: ResourceId::new(),
        kind: valid.kind,
        name: valid.name,
        attributes: valid.attributes,
        version: 1,
        created_by: scope.origin.principal.clone(),
        created_at: now,
        updated_at: now,
    };
    store::insert(tx, &resource).await?;
    let event = scope
        .event("resource.create")
        .on("resource", resource.id)
        .change("type", Value::Null, resource.kind.as_str())
        .change("name", Value::Null, resource.name.as_str())
        .change_members("attributes", &Attributes::new(), &resource.attributes);
    bulkhead_audit::record(tx, event).await?;
    if let Some(key) = &key {
        key.keep(tx, &resource).await?;
    }
    Ok(resource)
}

/// A page of the things.
#[instrument(name = "resources.list", skip_all)]
pub async fn list(scope: &Scope, tx: &mut TenantTx, query: &ResourceQuery) -> Result<Page<Resource>, ResourceError> {
    scope.require(Permission::ResourceRead)?;
    query.check().map_err(ResourceError::Invalid)?;
    let (items, total) = store::list(tx, query).await?;
    Ok(Page {
        items,
        total,
        request: query.page,
    })
}

/// A thing.
#[instrument(name = "resources.get", skip_all)]
pub async fn get(scope: &Scope, tx: &mut TenantTx, id: ResourceId) -> Result<Resource, ResourceError> {
    scope.require(Permission::ResourceRead)?;
    store::find(tx, id).await?.ok_or(ResourceError::NotFound)
}

/// Changes a thing, if it is at one of the versions that the caller has seen. A change of nothing makes no new version.
#[instrument(name = "resources.update", skip_all)]
pub async fn update(
    scope: &Scope,
    tx: &mut TenantTx,
    id: ResourceId,
    seen: Option<&[i64]>,
    changes: &Changes,
) -> Result<Resource, ResourceError> {
    scope.require(Permission::ResourceUpdate)?;
    let before = lock(tx, id, seen).await?;
    let mut after = changes.apply(&before).map_err(ResourceError::Invalid)?;
    if after == before {
        return Ok(before);
    }
    after.version += 1;
    after.updated_at = scope.clock.now();
    store::set(tx, &after).await?;
    let event = scope
        .event("resource.update")
        .on("resource", id)
        .change("name", before.name, after.name.as_str())
        .change_members("attributes", &before.attributes, &after.attributes);
    bulkhead_audit::record(tx, event).await?;
    Ok(after)
}

/// Deletes a thing, if it is at one of the versions that the caller has seen.
#[instrument(name = "resources.delete", skip_all)]
pub async fn delete(
    scope: &Scope,
    tx: &mut TenantTx,
    id: ResourceId,
    seen: Option<&[i64]>,
) -> Result<(), ResourceError> {
    scope.require(Permission::ResourceDelete)?;
    let before = lock(tx, id, seen).await?;
    store::delete(tx, id).await?;
    let event = scope
        .event("resource.delete")
        .on("resource", id)
        .change("type", before.kind, Value::Null)
        .change("name", before.name, Value::Null)
        .change_members("attributes", &before.attributes, &Attributes::new());
    Ok(bulkhead_audit::record(tx, event).await?)
}

async fn lock(tx: &mut TenantTx, id: ResourceId, seen: Option<&[i64]>) -> Result<Resource, ResourceError> {
    let resource = store::lock(tx, id).await?.ok_or(ResourceError::NotFound)?;
    if seen.is_none_or(|versions| versions.contains(&resource.version)) {
        Ok(resource)
    } else {
        Err(ResourceError::Changed)
    }
}
