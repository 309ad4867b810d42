//! What a link is good for, and the secret in it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{RngCore, rngs::OsRng};
use sha2::{Digest, Sha256};

/// What following a link does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Shows that the address is the person's.
    VerifyEmail,
    /// Lets the person choose another password.
    ResetPassword,
}

impl Purpose {
    /// The word in the database.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
        }
    }

    /// The page of the frontend that takes the secret.
    pub(crate) const fn page(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify-email",
            Self::ResetPassword => "reset-password",
        }
    }
}

/// The secret of a link: 43 characters of base64url. It has no `Debug`.
pub(crate) struct Token([u8; 32]);

impl Token {
    pub(super) fn random() -> Self {
        let mut secret = [0; 32];
        OsRng.fill_bytes(&mut secret);
        Self(secret)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let secret = URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Self(secret.try_into().ok()?))
    }

    /// What is stored and looked up. The secret is random, so a fast hash is enough.
    pub(super) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }

    pub(crate) fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_no_other_text_is_one() {
        let token = Token::random();
        let text = token.to_text();
        assert_eq!(text.len(), 43);
        assert_eq!(Token::parse(&text).unwrap().hash(), token.hash());
        assert_ne!(Token::random().hash(), token.hash());
        for wrong in ["", "x", &text[1..], &format!("{text}A"), &format!("{text}="), " ", "é"] {
            assert!(Token::parse(wrong).is_none(), "{wrong:?}");
        }
    }
}
