//! `POST /resources` under an `Idempotency-Key`: the answer is stored in the transaction of the change, so that a repeated
//! request meets either both or neither.

mod store;

use bulkhead_kernel::{idempotency::IdempotencyKey, ids::ResourceId};
use bulkhead_tenancy::TenantTx;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Attributes, NewResource, Resource, ResourceError};

const ROUTE: &str = "POST /resources";

/// A caller's key, and what it was sent with.
pub(crate) struct Key<'a> {
    principal: &'a str,
    text: IdempotencyKey,
    hash: Vec<u8>,
}

impl<'a> Key<'a> {
    pub(crate) fn new(principal: &'a str, key: &str, new: &NewResource) -> Result<Self, ResourceError> {
        let text = key
            .parse()
            .map_err(|violation| ResourceError::Invalid(vec![violation]))?;
        let body = serde_json::to_vec(&(&new.kind, &new.name, &new.attributes))?;
        Ok(Self {
            principal,
            text,
            hash: Sha256::digest(body).to_vec(),
        })
    }

    /// Takes the key for this transaction, or gives the answer it once led to. Waits for a request under the same key
    /// that is still running.
    pub(crate) async fn claim(&self, tx: &mut TenantTx, now: DateTime<Utc>) -> Result<Option<Resource>, ResourceError> {
        let place = (self.principal, ROUTE, self.text.as_str());
        if store::insert(tx, place, &self.hash, now).await? {
            return Ok(None);
        }
        let (hash, body) = store::get(tx, place).await?;
        if hash != self.hash {
            return Err(ResourceError::IdempotencyKeyReused);
        }
        Ok(Some(Answer::deserialize(body)?.into()))
    }

    /// Stores what the key led to.
    pub(crate) async fn keep(&self, tx: &mut TenantTx, resource: &Resource) -> Result<(), ResourceError> {
        let place = (self.principal, ROUTE, self.text.as_str());
        let location = format!("/api/v1/resources/{}", resource.id);
        let answer = serde_json::to_value(Answer::from(resource))?;
        Ok(store::set_answer(tx, place, &location, &answer).await?)
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
