//! Private halves at rest: wrapped under a key that is not in the database, bound to the row they stand in.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use bulkhead_kernel::{config, secret::Secret};
use sha2::{Digest, Sha256};

use super::SigningKeyError;
use crate::tokens::Keys;

/// Wraps and unwraps secrets that have to be read back: those of signing keys, and of webhooks.
pub struct Vault([u8; 32]);

impl Vault {
    /// Under the key of the settings; where they have none, under one derived from the oldest key file.
    #[must_use]
    pub fn new(settings: &config::Auth, files: &Keys) -> Self {
        Self::of_settings(settings).unwrap_or_else(|| Self(files.derive("key encryption key")))
    }

    /// The same for a process that may have started before its key files were there.
    pub fn load(settings: &config::Auth) -> Result<Self, SigningKeyError> {
        match Self::of_settings(settings) {
            Some(vault) => Ok(vault),
            None => Ok(Self::new(settings, &Keys::load(&settings.keys_dir)?)),
        }
    }

    fn of_settings(settings: &config::Auth) -> Option<Self> {
        let secret = settings.key_encryption_key.as_ref()?;
        Some(Self(Sha256::digest(secret.expose()).into()))
    }

    fn key(&self) -> Option<RandomizedNonceKey> {
        RandomizedNonceKey::new(&AES_256_GCM, &self.0).ok()
    }

    /// Nonce, ciphertext and tag. It opens only for the same place, which names the row it stands in.
    pub fn seal(&self, place: &str, secret: &[u8]) -> Result<Vec<u8>, SigningKeyError> {
        let mut sealed = secret.to_vec();
        let key = self.key().ok_or(SigningKeyError::Wrap)?;
        let nonce = key.seal_in_place_append_tag(Aad::from(place.as_bytes()), &mut sealed);
        let nonce = nonce.map_err(|_| SigningKeyError::Wrap)?;
        Ok([nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// What was sealed for this place.
    pub fn open(&self, place: &str, wrapped: &[u8]) -> Result<Vec<u8>, SigningKeyError> {
        let opened = || {
            let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_LEN>()?;
            let mut sealed = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let key = self.key()?;
            let secret = key
                .open_in_place(nonce, Aad::from(place.as_bytes()), &mut sealed)
                .ok()?;
            Some(secret.to_vec())
        };
        opened().ok_or_else(|| SigningKeyError::Unwrap(place.to_owned()))
    }

    pub(super) fn wrap(&self, id: &str, pem: &Secret) -> Result<Vec<u8>, SigningKeyError> {
        self.seal(&row(id), pem.expose().as_bytes())
    }

    pub(super) fn unwrap(&self, id: &str, wrapped: &[u8]) -> Result<Secret, SigningKeyError> {
        let pem = String::from_utf8(self.open(&row(id), wrapped)?);
        let pem = pem.map_err(|_| SigningKeyError::Unwrap(row(id)))?;
        Ok(Secret::new(pem))
    }
}

/// What a wrapped key is bound to.
fn row(id: &str) -> String {
    format!("control.signing_keys/{id}")
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
