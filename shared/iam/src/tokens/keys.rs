//! The key pairs: files in a directory, made here and read at the start.

use std::{
    collections::HashMap,
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bulkhead_kernel::{clock::Clock, secret::Secret};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use rand::rngs::OsRng;
use rsa::{
    RsaPrivateKey,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding},
    traits::PublicKeyParts,
};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{KeyError, TYP, TokenError};

/// The size of keys we make and the least of keys we use.
const BITS: usize = 2048;

/// The public half of a key pair, in the terms of RFC 7517.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// `kid`: the thumbprint of the key (RFC 7638), so that it names this key wherever its file goes.
    pub id: String,
    /// `n` in base64url.
    pub modulus: String,
    /// `e` in base64url.
    pub exponent: String,
}

impl PublicKey {
    fn of(key: &RsaPrivateKey) -> Self {
        let [modulus, exponent] = [key.n(), key.e()].map(|number| URL_SAFE_NO_PAD.encode(number.to_bytes_be()));
        Self::new(modulus, exponent)
    }

    fn new(modulus: String, exponent: String) -> Self {
        let canonical = format!(r#"{{"e":"{exponent}","kty":"RSA","n":"{modulus}"}}"#);
        Self {
            id: URL_SAFE_NO_PAD.encode(Sha256::digest(canonical)),
            modulus,
            exponent,
        }
    }
}

/// A key pair.
pub(crate) struct PrivateKey {
    pub(crate) public: PublicKey,
    /// PKCS#8.
    pub(crate) pem: Secret,
}

impl PrivateKey {
    /// A new one.
    pub(crate) fn generate() -> Result<Self, KeyError> {
        let key = RsaPrivateKey::new(&mut OsRng, BITS).map_err(KeyError::Generate)?;
        let pem = key.to_pkcs8_pem(LineEnding::LF);
        let pem = pem.map_err(|error| KeyError::Generate(error.into()))?;
        Ok(Self {
            public: PublicKey::of(&key),
            pem: Secret::new(pem.as_str()),
        })
    }

    /// What signs with such a text.
    pub(crate) fn signing(pem: &Secret) -> Result<EncodingKey, jsonwebtoken::errors::Error> {
        EncodingKey::from_rsa_pem(pem.expose().as_bytes())
    }
}

/// All keys of the directory: the newest signs, all of them verify.
pub struct Keys {
    header: Header,
    signing: EncodingKey,
    verifying: HashMap<String, DecodingKey>,
    public: Vec<PublicKey>,
    /// The newest first.
    private: Vec<PrivateKey>,
    /// Of the oldest private key: a further file changes nothing that is derived from it.
    digest: [u8; 32],
}

impl Keys {
    /// Makes a new key pair in `directory`, readable by its owner only, and gives its id. The file's name begins with
    /// the time, and the name that sorts last is the newest key.
    pub fn generate(directory: &Path, clock: &Clock) -> Result<String, KeyError> {
        let key = RsaPrivateKey::new(&mut OsRng, BITS).map_err(KeyError::Generate)?;
        store(&key, directory, clock)
    }

    /// Reads all keys of `directory`: every file that ends in `.pem`.
    pub fn load(directory: &Path) -> Result<Self, KeyError> {
        let mut paths = list_pem(directory).map_err(|error| KeyError::Io(directory.to_owned(), error))?;
        paths.sort_unstable_by(|left, right| right.file_name().cmp(&left.file_name()));
        let mut pems = Vec::with_capacity(paths.len());
        for path in paths {
            let pem = fs::read_to_string(&path).map_err(|error| KeyError::Io(path.clone(), error))?;
            pems.push((path, pem));
        }
        Self::from_pems(directory, &pems)
    }

    /// The keys in these files, the newest first.
    fn from_pems(directory: &Path, pems: &[(PathBuf, String)]) -> Result<Self, KeyError> {
        let mut verifying = HashMap::new();
        let mut public = Vec::new();
        let mut private = Vec::new();
        for (path, pem) in pems {
            let key = parse(path, pem)?;
            let half = PublicKey::of(&key);
            let raw = DecodingKey::from_rsa_raw_components(&key.n().to_bytes_be(), &key.e().to_bytes_be());
            if verifying.insert(half.id.clone(), raw).is_none() {
                private.push(PrivateKey {
                    public: half.clone(),
                    pem: Secret::new(pem.as_str()),
                });
                public.push(half);
            }
        }
        let ((path, pem), newest) = pems
            .first()
            .zip(public.first())
            .ok_or_else(|| KeyError::Missing(directory.to_owned()))?;
        let mut header = Header::new(Algorithm::RS256);
        header.typ = Some(TYP.to_owned());
        header.kid = Some(newest.id.clone());
        Ok(Self {
            header,
            signing: EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| KeyError::Malformed(path.clone()))?,
            verifying,
            public,
            digest: Sha256::digest(pems.last().map_or(pem, |(_, oldest)| oldest)).into(),
            private,
        })
    }

    pub(super) fn sign(&self, payload: &impl Serialize) -> Result<String, TokenError> {
        jsonwebtoken::encode(&self.header, payload, &self.signing).map_err(TokenError::Sign)
    }

    pub(super) fn sign_as(&self, typ: &str, payload: &impl Serialize) -> Result<String, TokenError> {
        let mut header = self.header.clone();
        header.typ = Some(typ.to_owned());
        jsonwebtoken::encode(&header, payload, &self.signing).map_err(TokenError::Sign)
    }

    pub(super) fn verifying(&self, id: &str) -> Option<&DecodingKey> {
        self.verifying.get(id)
    }

    pub(super) fn public(&self) -> &[PublicKey] {
        &self.public
    }

    /// The pairs, the newest first.
    pub(crate) fn private(&self) -> &[PrivateKey] {
        &self.private
    }

    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        let digest = Sha256::new().chain_update(self.digest).chain_update(purpose);
        digest.finalize().into()
    }
}

fn store(key: &RsaPrivateKey, directory: &Path, clock: &Clock) -> Result<String, KeyError> {
    let public = PublicKey::of(key);
    let name = format!("{}_{}.pem", clock.now().format("%Y%m%dT%H%M%SZ"), public.id);
    let path = directory.join(name);
    let pem = key.to_pkcs8_pem(LineEnding::LF);
    let pem = pem.map_err(|error| KeyError::Generate(error.into()))?;
    write_private(directory, &path, pem.as_bytes()).map_err(|error| KeyError::Io(path, error))?;
    Ok(public.id)
}

fn parse(path: &Path, pem: &str) -> Result<RsaPrivateKey, KeyError> {
    let key = RsaPrivateKey::from_pkcs8_pem(pem).map_err(|_| KeyError::Malformed(path.to_owned()))?;
    if key.n().bits() < BITS {
        return Err(KeyError::Short(path.to_owned()));
    }
    Ok(key)
}

fn list_pem(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "pem") {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// Writes under another name first, so that a program that starts meanwhile never reads half a key.
fn write_private(directory: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let unfinished = path.with_extension("unfinished");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("bulkhead-keys-{name}-{}", uuid::Uuid::now_v7()));
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    #[test]
    fn a_stored_key_is_private_and_named_by_time_and_thumbprint() {
        let directory = scratch("store").join("deeper");
        let key = RsaPrivateKey::from_pkcs8_pem(include_str!("../../testdata/foreign.pem")).unwrap();
        let id = store(&key, &directory, &Clock::manual(chrono::DateTime::UNIX_EPOCH)).unwrap();
        let path = directory.join(format!("19700101T000000Z_{id}.pem"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
        let keys = Keys::load(&directory).unwrap();
        assert_eq!(keys.public()[0].id, id);
        assert_eq!(keys.public()[0].exponent, "AQAB");
        fs::remove_dir_all(directory.parent().unwrap()).unwrap();
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638() {
        // The modulus of section 3.1 of the RFC, and its answer.
        let modulus = concat!(
            "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMst",
            "n64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn",
            "1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        );
        assert_eq!(
            PublicKey::new(modulus.into(), "AQAB".into()).id,
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
    }

    #[test]
    fn a_directory_without_a_usable_key_says_what_is_wrong() {
        let directory = scratch("broken");
        assert!(matches!(Keys::load(&directory), Err(KeyError::Missing(_))));
        fs::write(
            directory.join("a.pem"),
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        )
        .unwrap();
        assert!(matches!(Keys::load(&directory), Err(KeyError::Malformed(_))));
        assert!(matches!(Keys::load(&directory.join("absent")), Err(KeyError::Io(..))));
        fs::remove_dir_all(directory).unwrap();
    }
}
