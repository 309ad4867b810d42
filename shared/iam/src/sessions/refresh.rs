//! The refresh token itself: its text, its hash, and how one gives birth to the next.

use std::str::FromStr;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bulkhead_kernel::ids::RefreshTokenId;
use hmac::{Hmac, Mac};
use rand::{RngCore, rngs::OsRng};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::SessionError;

/// What a successor's secret is derived with; kept in its row, worthless without the secret before it.
pub(super) type Nonce = [u8; 32];

/// A refresh token as its holder has it: `rft_`, 32 hexadecimal digits, `_`, 43 characters of base64url. It has no
/// `Debug`, as it is a secret.
pub(super) struct RefreshToken {
    pub(super) id: RefreshTokenId,
    secret: [u8; 32],
}

pub(super) fn nonce() -> Nonce {
    let mut nonce = Nonce::default();
    OsRng.fill_bytes(&mut nonce);
    nonce
}

impl RefreshToken {
    /// The first of a session.
    pub(super) fn random() -> Self {
        Self {
            id: RefreshTokenId::new(),
            secret: nonce(),
        }
    }

    /// The successor with this id. Whoever has this token and the row of the successor can make it again.
    pub(super) fn successor(&self, id: RefreshTokenId, nonce: &[u8]) -> Self {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.secret).unwrap_or_else(|_| unreachable!());
        mac.update(id.uuid().as_bytes());
        mac.update(nonce);
        Self {
            id,
            secret: mac.finalize().into_bytes().into(),
        }
    }

    /// What is stored. The secret is random, so a fast hash is enough.
    pub(super) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.secret).into()
    }

    pub(super) fn has_hash(&self, stored: &[u8]) -> bool {
        self.hash().ct_eq(stored).into()
    }

    pub(super) fn to_text(&self) -> String {
        format!("{}_{}", self.id, URL_SAFE_NO_PAD.encode(self.secret))
    }
}

impl FromStr for RefreshToken {
    type Err = SessionError;

    fn from_str(text: &str) -> Result<Self, SessionError> {
        let parsed = (|| {
            let (id, secret) = text.split_at_checked(RefreshTokenId::PREFIX.len() + 1 + 32)?;
            let secret = URL_SAFE_NO_PAD.decode(secret.strip_prefix('_')?).ok()?;
            Some(Self {
                id: id.parse().ok()?,
                secret: secret.try_into().ok()?,
            })
        })();
        parsed.ok_or(SessionError::RefreshTokenInvalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_read_back() {
        let token = RefreshToken::random();
        let text = token.to_text();
        assert_eq!(text.len(), 4 + 32 + 1 + 43);
        let read: RefreshToken = text.parse().ok().unwrap();
        assert_eq!((read.id, read.secret), (token.id, token.secret));
    }

    #[test]
    fn any_other_text_is_refused() {
        let text = RefreshToken::random().to_text();
        let (id, secret) = text.split_at(36);
        for wrong in [
            String::new(),
            "rft_".into(),
            id.into(),
            format!("{id}{}", &secret[1..]),
            format!("{text}="),
            format!("{text}A"),
            format!(" {text}"),
            format!("{text}\0"),
            text.replacen("rft_", "ses_", 1),
            text.to_uppercase(),
            "é".repeat(40),
            text[..text.len() - 1].into(),
        ] {
            assert!(wrong.parse::<RefreshToken>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_successor_needs_parent_nonce_and_id() {
        let (parent, id, salt) = (RefreshToken::random(), RefreshTokenId::new(), nonce());
        let child = parent.successor(id, &salt);
        assert_eq!(parent.successor(id, &salt).secret, child.secret);
        assert_ne!(parent.secret, child.secret);
        assert_ne!(parent.successor(id, &nonce()).secret, child.secret);
        assert_ne!(parent.successor(RefreshTokenId::new(), &salt).secret, child.secret);
        assert_ne!(RefreshToken::random().successor(id, &salt).secret, child.secret);
        assert!(child.has_hash(&child.hash()) && !parent.has_hash(&child.hash()));
        assert!(!child.has_hash(&[]));
    }
}
