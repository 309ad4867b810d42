//! Requests under an `Idempotency-Key`: what a key led to is kept in the transaction of the change, so that a repeated
//! request meets either both or neither. A week later the key is forgotten ([`jobs`]).

mod error;
pub mod jobs;
mod store;

use bulkhead_kernel::idempotency::IdempotencyKey;
use bulkhead_tenancy::TenantTx;
use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

pub use error::IdempotencyError;

use crate::Scope;

/// What can be answered again under a key.
pub(crate) trait Repeatable: From<Self::Answer> {
    /// As it is kept.
    type Answer: Serialize + DeserializeOwned + for<'a> From<&'a Self>;

    /// Where it is found.
    fn location(&self) -> String;
}

/// A request under a key of whoever is in this scope.
pub(crate) struct Key<'a> {
    scope: &'a Scope,
    request: Keyed<'a>,
}

impl<'a> Key<'a> {
    pub(crate) fn new(
        scope: &'a Scope,
        route: &'static str,
        key: &str,
        request: &impl Serialize,
    ) -> Result<Self, IdempotencyError> {
        let request = Keyed::new(&scope.origin.principal, route, key, request)?;
        Ok(Self { scope, request })
    }

    /// [`Keyed::claim`], now.
    pub(crate) async fn claim<T: Repeatable>(
        &self,
        tx: &mut TenantTx,
        status: i16,
    ) -> Result<Option<T>, IdempotencyError> {
        let earlier = self
            .request
            .claim::<T::Answer>(tx, status, self.scope.clock.now())
            .await?;
        Ok(earlier.map(T::from))
    }

    /// [`Keyed::keep`].
    pub(crate) async fn keep<T: Repeatable>(&self, tx: &mut TenantTx, answered: &T) -> Result<(), IdempotencyError> {
        let answer = T::Answer::from(answered);
        self.request.keep(tx, &answered.location(), &answer).await
    }
}

/// A principal's request under a key, and what it was sent with.
#[derive(Debug)]
pub struct Keyed<'a> {
    principal: &'a str,
    route: &'static str,
    key: IdempotencyKey,
    hash: Vec<u8>,
}

impl<'a> Keyed<'a> {
    /// The request to a route, such as `POST /vms`, whose body and path ids are `request`.
    ///
    /// # Errors
    /// [`IdempotencyError::Malformed`] when the key breaks its rules.
    pub fn new(
        principal: &'a str,
        route: &'static str,
        key: &str,
        request: &impl Serialize,
    ) -> Result<Self, IdempotencyError> {
        Ok(Self {
            principal,
            route,
            key: key.parse().map_err(IdempotencyError::Malformed)?,
            hash: Sha256::digest(serde_json::to_vec(request)?).to_vec(),
        })
    }

    /// Takes the key for this transaction, or gives the answer it once led to. Waits for a request under the same key
    /// that is still running. `status` is the HTTP status the request is about to be answered with.
    ///
    /// # Errors
    /// [`IdempotencyError::Reused`] when the key came with another request before.
    pub async fn claim<T: DeserializeOwned>(
        &self,
        tx: &mut TenantTx,
        status: i16,
        now: DateTime<Utc>,
    ) -> Result<Option<T>, IdempotencyError> {
        if store::insert(tx, self.place(), &self.hash, status, now).await? {
            return Ok(None);
        }
        let (hash, body) = store::get(tx, self.place()).await?;
        if hash != self.hash {
            return Err(IdempotencyError::Reused);
        }
        Ok(Some(T::deserialize(body)?))
    }

    /// Stores what the key led to, and where that is found.
    ///
    /// # Errors
    /// When the answer is no JSON or the database fails.
    pub async fn keep(
        &self,
        tx: &mut TenantTx,
        location: &str,
        answer: &impl Serialize,
    ) -> Result<(), IdempotencyError> {
        let answer = serde_json::to_value(answer)?;
        Ok(store::set_answer(tx, self.place(), location, &answer).await?)
    }

    fn place(&self) -> store::KeyOf<'_> {
        (self.principal, self.route, self.key.as_str())
    }
}
