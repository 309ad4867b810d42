//! Many things at once, in the background: what is wrong with one is no reason against the others.

use bulkhead_audit::{Actor, Event};
use bulkhead_iam::{permissions::Permission, standing::Standing};
use bulkhead_kernel::{fault::Violation, ids::ResourceId, origin::Origin};
use bulkhead_tenancy::TenantTx;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tracing::instrument;

use crate::{Attributes, NewResource, Resource, ResourceError, store};

/// Why one of many was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unmade {
    /// It breaks rules.
    Invalid(Vec<Violation>),
    /// Another thing of the type has the name, one before it among them.
    NameTaken,
}

/// Makes those of these things that can be made, each recorded as made by whoever asked; the answers are in their order.
#[instrument(name = "resources.create_many", skip_all)]
pub async fn create_many(
    origin: &Origin,
    standing: &Standing,
    tx: &mut TenantTx,
    wanted: &[NewResource],
    now: DateTime<Utc>,
) -> Result<Vec<Result<ResourceId, Unmade>>, ResourceError> {
    standing.require(Permission::ResourceCreate)?;
    let checked: Vec<_> = wanted
        .iter()
        .map(|new| new.validate().map(|valid| resource(origin, valid, now)))
        .collect();
    let valid: Vec<&Resource> = checked.iter().filter_map(|one| one.as_ref().ok()).collect();
    let made = store::insert_many(tx, &valid).await?;
    let mut answers = Vec::with_capacity(checked.len());
    for one in checked {
        answers.push(match one {
            Err(violations) => Err(Unmade::Invalid(violations)),
            Ok(resource) if !made.contains(&resource.id) => Err(Unmade::NameTaken),
            Ok(resource) => {
                record(origin, tx, &resource).await?;
                Ok(resource.id)
            }
        });
    }
    Ok(answers)
}

fn resource(origin: &Origin, valid: NewResource, now: DateTime<Utc>) -> Resource {
    Resource {
        id: ResourceId::new(),
        kind: valid.kind,
        name: valid.name,
        attributes: valid.attributes,
        version: 1,
        created_by: origin.principal.clone(),
        created_at: now,
        updated_at: now,
    }
}

async fn record(origin: &Origin, tx: &mut TenantTx, resource: &Resource) -> Result<(), ResourceError> {
    let event = Event::new("resource.create", Actor::of(origin), origin, resource.created_at)
        .on("resource", resource.id)
        .change("type", Value::Null, resource.kind.as_str())
        .change("name", Value::Null, resource.name.as_str())
        .change_members("attributes", &Attributes::new(), &resource.attributes);
    Ok(bulkhead_audit::record(tx, event).await?)
}
