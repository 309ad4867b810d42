//! Access tokens: short-lived, signed with RS256, checked without a database.
//!
//! - Only what this file makes is accepted: one algorithm, one `typ`, a `kid` of our own set, every claim present and
//!   right, five seconds of leeway. Expired is told apart from invalid, and nothing else is.
//! - Time comes from the [`Clock`], so `exp`, `nbf` and `iat` are compared here. The library's own checks read the
//!   machine's clock, pass over claims that are absent and default to a minute of leeway; it does the cryptography.
//!
//! Absent here: which keys there are and when (`signing_keys`); no key is ever fetched, no header but `alg`, `typ` and
//! `kid` is understood, no other algorithm exists.

mod error;
mod keys;
mod statement;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bulkhead_kernel::{
    clock::Clock,
    config,
    ids::{IdentityId, SessionId, TenantId},
};
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, Header as NewHeader};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

pub use error::{KeyError, TokenError};
pub(crate) use keys::PrivateKey;
pub use keys::{Keys, PublicKey};
pub use statement::read_statement;

use crate::signing_keys::Ring;

/// The media type in the header (RFC 9068); an ID token or any other JWT has another one.
const TYP: &str = "at+jwt";

/// How far two clocks of ours may be apart.
const LEEWAY_SECS: i64 = 5;

/// Ours have about 900 bytes; a longer text is not worth decoding.
const MAX_LEN: usize = 4096;

/// What an access token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The person (`sub`).
    pub identity: IdentityId,
    /// The sign-in it came from (`sid`).
    pub session: SessionId,
    /// The only tenant it opens (`org_id`); without it the request chooses among the person's.
    pub tenant: Option<TenantId>,
    /// The id of this very token (`jti`).
    pub id: String,
    /// How the person signed in (`amr`, RFC 8176).
    pub methods: Vec<String>,
    /// When the person signed in (`auth_time`).
    pub signed_in_at: DateTime<Utc>,
    /// When it was made (`iat`).
    pub issued_at: DateTime<Utc>,
    /// When it ends (`exp`).
    pub expires_at: DateTime<Utc>,
}

/// What a new access token is to say.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The person.
    pub identity: IdentityId,
    /// The sign-in.
    pub session: SessionId,
    /// The tenant it is bound to.
    pub tenant: Option<TenantId>,
    /// How the person signed in.
    pub methods: Vec<String>,
    /// When the person signed in.
    pub signed_in_at: DateTime<Utc>,
}

/// The header, complete: a token that has any other field (`jku`, `x5u`, `jwk`, `crit`…) is not ours.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    #[serde(borrow)]
    alg: &'a str,
    #[serde(borrow)]
    typ: &'a str,
    #[serde(borrow)]
    kid: &'a str,
}

/// The claims on the wire. All but `org_id` are required.
#[derive(Serialize, Deserialize)]
struct Payload {
    iss: String,
    aud: String,
    sub: IdentityId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    org_id: Option<TenantId>,
    sid: SessionId,
    jti: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    amr: Vec<String>,
    auth_time: i64,
}

/// Issues and checks access tokens.
pub struct Tokens {
    files: Keys,
    /// The keys of the database, once they are read; until then those of the files do all.
    ring: RwLock<Option<Arc<Ring>>>,
    clock: Clock,
    issuer: String,
    audience: String,
    lifetime: Duration,
}

impl Tokens {
    /// Tokens of this issuer for this audience.
    #[must_use]
    pub fn new(keys: Keys, settings: &config::Auth, clock: Clock) -> Self {
        Self {
            files: keys,
            ring: RwLock::default(),
            clock,
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            lifetime: settings.access_token,
        }
    }

    /// How long a new token is good for.
    #[must_use]
    pub const fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// The keys others need to check our tokens (`/.well-known/jwks.json`), the signing one first.
    #[must_use]
    pub fn jwks(&self) -> Vec<PublicKey> {
        self.ring()
            .map_or_else(|| self.files.public().to_vec(), |ring| ring.public(self.clock.now()))
    }

    /// A secret for something else, the same in every process that has the same oldest key file.
    #[must_use]
    pub fn derive_secret(&self, purpose: &str) -> [u8; 32] {
        self.files.derive(purpose)
    }

    fn ring(&self) -> Option<Arc<Ring>> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn files(&self) -> &Keys {
        &self.files
    }

    /// Whether the keys in use come from the database and are those meant.
    pub(crate) fn has_ring_of(&self, is_it: impl FnOnce(&Ring) -> bool) -> bool {
        self.ring().is_some_and(|ring| is_it(&ring))
    }

    /// From here on these are the keys.
    pub(crate) fn set_ring(&self, ring: Ring) {
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(ring));
    }

    /// Signs a new token.
    pub fn issue(&self, grant: Grant) -> Result<String, TokenError> {
        let at = self.clock.now();
        let now = at.timestamp();
        let payload = Payload {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: grant.identity,
            org_id: grant.tenant,
            sid: grant.session,
            jti: Uuid::now_v7().simple().to_string(),
            iat: now,
            nbf: now,
            exp: now.saturating_add_unsigned(self.lifetime.as_secs()),
            amr: grant.methods,
            auth_time: grant.signed_in_at.timestamp(),
        };
        let ring = self.ring();
        let Some((id, key)) = ring.as_deref().and_then(|ring| ring.signing(at)) else {
            return self.files.sign(&payload);
        };
        let mut header = NewHeader::new(Algorithm::RS256);
        header.typ = Some(TYP.to_owned());
        header.kid = Some(id.to_owned());
        jsonwebtoken::encode(&header, &payload, key).map_err(TokenError::Sign)
    }

    /// What the token says, if it is one of ours and its time is now.
    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let payload = self.authentic(token).ok_or(TokenError::Invalid)?;
        let now = self.clock.now().timestamp();
        let is_for_us = payload.iss == self.issuer && payload.aud == self.audience && !payload.jti.is_empty();
        let latest_start = now + LEEWAY_SECS;
        let has_begun = payload.iat <= latest_start && payload.nbf <= latest_start && payload.iat <= payload.exp;
        if !is_for_us || !has_begun {
            return Err(TokenError::Invalid);
        }
        if payload.exp.saturating_add(LEEWAY_SECS) <= now {
            return Err(TokenError::Expired);
        }
        Claims::try_from(payload)
    }

    /// The payload, if header and signature are ours.
    fn authentic(&self, token: &str) -> Option<Payload> {
        if token.len() > MAX_LEN {
            return None;
        }
        let (message, signature) = token.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        let decoded = URL_SAFE_NO_PAD.decode(header).ok()?;
        let header: Header<'_> = serde_json::from_slice(&decoded).ok()?;
        if header.alg != "RS256" || header.typ != TYP {
            return None;
        }
        let ring = self.ring();
        let key = match ring.as_deref() {
            Some(ring) => ring.verifying(header.kid, self.clock.now())?,
            None => self.files.verifying(header.kid)?,
        };
        let is_signed = jsonwebtoken::crypto::verify(signature, message.as_bytes(), key, Algorithm::RS256);
        if !is_signed.unwrap_or(false) {
            return None;
        }
        decode(payload)
    }
}

fn decode<T: DeserializeOwned>(part: &str) -> Option<T> {
    let decoded = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&decoded).ok()
}

impl TryFrom<Payload> for Claims {
    type Error = TokenError;

    fn try_from(payload: Payload) -> Result<Self, TokenError> {
        let at = |secs| DateTime::from_timestamp(secs, 0).ok_or(TokenError::Invalid);
        Ok(Self {
            identity: payload.sub,
            session: payload.sid,
            tenant: payload.org_id,
            id: payload.jti,
            methods: payload.amr,
            signed_in_at: at(payload.auth_time)?,
            issued_at: at(payload.iat)?,
            expires_at: at(payload.exp)?,
        })
    }
}
