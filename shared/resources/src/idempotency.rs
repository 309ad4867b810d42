//! `POST /resources` under an `Idempotency-Key`: the answer is stored in the transaction of the change, so that a repeated
//! request meets either both or neither.

use bulkhead_iam::idempotency::Keyed;
use bulkhead_kernel::ids::ResourceId;
use bulkhead_tenancy::TenantTx;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Attributes, NewResource, Resource, ResourceError};

/// A caller's key, and what it was sent with.
pub(crate) struct Key<'a>(Keyed<'a>);

impl<'a> Key<'a> {
    pub(crate) fn new(principal: &'a str, key: &str, new: &NewResource) -> Result<Self, ResourceError> {
        let body = (&new.kind, &new.name, &new.attributes);
        Ok(Self(Keyed::new(principal, "POST /resources", key, &body)?))
    }

    /// Takes the key for this transaction, or gives the answer it once led to. Waits for a request under the same key
    /// that is still running.
    pub(crate) async fn claim(&self, tx: &mut TenantTx, now: DateTime<Utc>) -> Result<Option<Resource>, ResourceError> {
        let earlier = self.0.claim::<Answer>(tx, 201, now).await?;
        Ok(earlier.map(Resource::from))
    }

    /// Stores what the key led to.
    pub(crate) async fn keep(&self, tx: &mut TenantTx, resource: &Resource) -> Result<(), ResourceError> {
        let location = format!("/api/v1/resources/{}", resource.id);
        Ok(self.0.keep(tx, &location, &Answer::from(resource)).await?)
    }
}

/// A new thing as it was answered.
#[derive(Serialize, Deserialize)]
struct Answer {
    id: ResourceId,
    kind: String,
    name: String,
    attributes: Attributes,
    created_by: String,
    created_at: DateTime<Utc>,
}

impl From<&Resource> for Answer {
    fn from(resource: &Resource) -> Self {
        let resource = resource.clone();
        Self {
            id: resource.id,
            kind: resource.kind,
            name: resource.name,
            attributes: resource.attributes,
            created_by: resource.created_by,
            created_at: resource.created_at,
        }
    }
}

impl From<Answer> for Resource {
    fn from(answer: Answer) -> Self {
        Self {
            id: answer.id,
            kind: answer.kind,
            name: answer.name,
            attributes: answer.attributes,
            version: 1,
            created_by: answer.created_by,
            created_at: answer.created_at,
            updated_at: answer.created_at,
        }
    }
}
