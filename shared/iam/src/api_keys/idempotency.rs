//! Making and rotating keys under an `Idempotency-Key`. The answer holds a secret of which nothing but the hash is kept,
//! so under such a key the secret is derived: from what the database keeps with the answer, and from what only our
//! processes have. Either half alone is worthless, and the first goes when the answer is forgotten.

use bulkhead_kernel::ids::{ApiKeyId, IdentityId};
use bulkhead_tenancy::TenantTx;
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{
    ApiKey, ApiKeyError, KeyText, Minted, Owner,
    text::{self, Seed},
};
use crate::{
    Iam, Scope,
    idempotency::Keyed,
    permissions::{Permission, PermissionSet},
};

/// A caller's key, and what it was sent with.
pub(super) struct Key<'a> {
    request: Keyed<'a>,
    nonce: Seed,
}

impl<'a> Key<'a> {
    pub(super) fn new(
        scope: &'a Scope,
        route: &'static str,
        text: &str,
        body: &impl Serialize,
    ) -> Result<Self, ApiKeyError> {
        Ok(Self {
            request: Keyed::new(&scope.origin.principal, route, text, body)?,
            nonce: text::seed(),
        })
    }

    /// What the new secret is made of.
    pub(super) fn seed(&self, iam: &Iam, id: ApiKeyId) -> Seed {
        derive(iam, id, &self.nonce)
    }

    /// Takes the key for this transaction, or gives the answer it once led to. Waits for a request under the same key
    /// that is still running.
    pub(super) async fn claim(
        &self,
        iam: &Iam,
        tx: &mut TenantTx,
        now: DateTime<Utc>,
    ) -> Result<Option<Minted>, ApiKeyError> {
        let Some(answer) = self.request.claim::<Answer>(tx, 201, now).await? else {
            return Ok(None);
        };
        let text = KeyText::new(tx.tenant(), answer.id, &derive(iam, answer.id, &answer.nonce));
        if text.hash() != answer.secret_hash {
            return Err(ApiKeyError::NotRepeatable);
        }
        let text = text.to_text(&iam.settings.key_environment);
        Ok(Some(Minted {
            key: answer.key(text::hint(&text))?,
            text,
        }))
    }

    /// Stores what the key led to.
    pub(super) async fn keep(&self, tx: &mut TenantTx, key: &ApiKey, text: &KeyText) -> Result<(), ApiKeyError> {
        let location = format!("/api/v1/api-keys/{}", key.id);
        let answer = Answer::new(key, text, self.nonce);
        Ok(self.request.keep(tx, &location, &answer).await?)
    }
}

fn derive(iam: &Iam, id: ApiKeyId, nonce: &Seed) -> Seed {
    let ours = iam.tokens.derive_secret("api keys under an idempotency key");
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&ours).unwrap_or_else(|_| unreachable!());
    mac.update(id.uuid().as_bytes());
    mac.update(nonce);
    mac.finalize().into_bytes().into()
}

/// A key as it was answered.
#[derive(Serialize, Deserialize)]
struct Answer {
    id: ApiKeyId,
    nonce: Seed,
    secret_hash: [u8; 32],
    owner: Option<IdentityId>,
    name: String,
    scopes: Vec<String>,
    allowed_addresses: Vec<String>,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    previous_until: Option<DateTime<Utc>>,
    created_by: IdentityId,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i64,
}

impl Answer {
    fn new(key: &ApiKey, text: &KeyText, nonce: Seed) -> Self {
        let key = key.clone();
        Self {
            id: key.id,
            nonce,
            secret_hash: text.hash(),
            owner: key.owner.member(),
            name: key.name,
            scopes: key.scopes.iter().map(Permission::as_str).map(str::to_owned).collect(),
            allowed_addresses: key.allowed.iter().map(ToString::to_string).collect(),
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
            previous_until: key.previous_until,
            created_by: key.created_by,
            created_at: key.created_at,
            updated_at: key.updated_at,
            version: key.version,
        }
    }

    fn key(self, hint: String) -> Result<ApiKey, ApiKeyError> {
        let networks = self.allowed_addresses.iter().map(|text| text.parse());
        let networks: Result<_, super::network::MalformedNetwork> = networks.collect();
        Ok(ApiKey {
            id: self.id,
            owner: self.owner.map_or(Owner::Tenant, Owner::Member),
            name: self.name,
            hint,
            scopes: PermissionSet::from_ids(self.scopes.iter().map(String::as_str)),
            allowed: networks
                .map_err(serde::de::Error::custom)
                .map_err(ApiKeyError::Document)?,
            expires_at: self.expires_at,
            last_used_at: self.last_used_at,
            previous_until: self.previous_until,
            revoked_at: None,
            revoked_reason: None,
            created_by: self.created_by,
            created_at: self.created_at,
            updated_at: self.updated_at,
            version: self.version,
        })
    }
}
