//! Private halves at rest: wrapped under a key that is not in the database, bound to the row they stand in.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use bulkhead_kernel::{config, secret::Secret};
use sha2::{Digest, Sha256};

use super::SigningKeyError;
use crate::tokens::Keys;

/// Wraps and unwraps.
pub struct Vault([u8; 32]);

impl Vault {
    /// Under the key of the settings; where they have none, under one derived from the oldest key file.
    #[must_use]
    pub fn new(settings: &config::Auth, files: &Keys) -> Self {
        Self(match &settings.key_encryption_key {
            Some(secret) => Sha256::digest(secret.expose()).into(),
            None => files.derive("key encryption key"),
        })
    }

    fn key(&self) -> Option<RandomizedNonceKey> {
        RandomizedNonceKey::new(&AES_256_GCM, &self.0).ok()
    }

    /// Nonce, ciphertext and tag.
    pub(super) fn wrap(&self, id: &str, pem: &Secret) -> Result<Vec<u8>, SigningKeyError> {
        let mut sealed = pem.expose().as_bytes().to_vec();
        let key = self.key().ok_or(SigningKeyError::Wrap)?;
        let nonce = key.seal_in_place_append_tag(Aad::from(row(id)), &mut sealed);
        let nonce = nonce.map_err(|_| SigningKeyError::Wrap)?;
        Ok([nonce.as_ref().as_slice(), &sealed].concat())
    }

    pub(super) fn unwrap(&self, id: &str, wrapped: &[u8]) -> Result<Secret, SigningKeyError> {
        let opened = || {
            let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_LEN>()?;
            let mut sealed = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let key = self.key()?;
            let pem = key.open_in_place(nonce, Aad::from(row(id)), &mut sealed).ok()?;
            String::from_utf8(pem.to_vec()).ok()
        };
        opened()
            .map(Secret::new)
            .ok_or_else(|| SigningKeyError::Unwrap(id.to_owned()))
    }
}

/// What a wrapped key is bound to.
fn row(id: &str) -> Vec<u8> {
    format!("control.signing_keys/{id}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_key_opens_in_its_own_row_under_its_own_key_and_unaltered() {
        let (vault, other) = (Vault([1; 32]), Vault([2; 32]));
        let pem = Secret::new("-----BEGIN PRIVATE KEY-----");
        let wrapped = vault.wrap("one", &pem).unwrap();
        assert!(vault.unwrap("one", &wrapped).unwrap() == pem);
        assert_ne!(wrapped, vault.wrap("one", &pem).unwrap(), "each has a nonce of its own");
        assert!(!String::from_utf8_lossy(&wrapped).contains("BEGIN"));
        assert!(vault.unwrap("two", &wrapped).is_err(), "swapped with another row");
        assert!(other.unwrap("one", &wrapped).is_err());
        for at in [0, NONCE_LEN, wrapped.len() - 1] {
            let mut altered = wrapped.clone();
            altered[at] ^= 1;
            assert!(vault.unwrap("one", &altered).is_err(), "{at}");
        }
        assert!(vault.unwrap("one", &wrapped[..5]).is_err());
    }
}
