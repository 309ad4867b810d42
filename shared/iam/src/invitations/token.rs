//! The text behind the link of a mail, and what is kept of it.

use std::str::FromStr;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bulkhead_kernel::ids::{InvitationId, TenantId};
use rand::{RngCore, rngs::OsRng};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::InvitationError;

/// `inv_`, 32 hexadecimal digits, `_`, those of the tenant, `_`, 22 characters of base64url: 128 random bits. It has no
/// `Debug`, as it is a secret.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) tenant: TenantId,
    pub(super) invitation: InvitationId,
    secret: [u8; 16],
}

impl Token {
    pub(super) fn random(tenant: TenantId, invitation: InvitationId) -> Self {
        let mut secret = [0; 16];
        OsRng.fill_bytes(&mut secret);
        Self {
            tenant,
            invitation,
            secret,
        }
    }

    /// What is stored. The secret is random, so a fast hash is enough; the ids are in it, so that it opens nothing in a copy
    /// of the tenant.
    pub(super) fn hash(&self) -> [u8; 32] {
        let digest = Sha256::new()
            .chain_update(self.tenant.uuid().as_bytes())
            .chain_update(self.invitation.uuid().as_bytes())
            .chain_update(self.secret);
        digest.finalize().into()
    }

    pub(super) fn is_one_of(&self, stored: &[Vec<u8>]) -> bool {
        let hash = self.hash();
        let found = stored.iter().map(|one| hash.as_slice().ct_eq(one));
        found.fold(Choice::from(0), |any, one| any | one).into()
    }

    pub(super) fn to_text(&self) -> String {
        let tenant = self.tenant.uuid().simple();
        format!("{}_{tenant}_{}", self.invitation, URL_SAFE_NO_PAD.encode(self.secret))
    }
}

impl FromStr for Token {
    type Err = InvitationError;

    fn from_str(text: &str) -> Result<Self, InvitationError> {
        let parsed = (|| {
            let (invitation, rest) = text.split_at_checked(InvitationId::PREFIX.len() + 1 + 32)?;
            let (tenant, secret) = rest.strip_prefix('_')?.split_at_checked(32)?;
            let secret = URL_SAFE_NO_PAD.decode(secret.strip_prefix('_')?).ok()?;
            Some(Self {
                tenant: format!("{}_{tenant}", TenantId::PREFIX).parse().ok()?,
                invitation: invitation.parse().ok()?,
                secret: secret.try_into().ok()?,
            })
        })();
        parsed.ok_or(InvitationError::TokenInvalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token::random(TenantId::new(), InvitationId::new())
    }

    #[test]
    fn the_text_is_read_back() {
        let token = token();
        let text = token.to_text();
        assert_eq!(text.len(), 36 + 1 + 32 + 1 + 22);
        let read: Token = text.parse().ok().unwrap();
        assert_eq!((read.tenant, read.invitation), (token.tenant, token.invitation));
        assert!(read.is_one_of(&[vec![0; 32], token.hash().into()]));
    }

    #[test]
    fn a_hash_opens_nothing_under_other_ids() {
        let token = token();
        let stored = [token.hash().to_vec()];
        let (mut elsewhere, mut another) = (token.clone(), token.clone());
        elsewhere.tenant = TenantId::new();
        another.invitation = InvitationId::new();
        for wrong in [elsewhere, another, Token::random(token.tenant, token.invitation)] {
            assert!(!wrong.is_one_of(&stored));
        }
        assert!(!token.is_one_of(&[]) && !token.is_one_of(&[vec![]]));
    }

    #[test]
    fn any_other_text_is_refused() {
        let text = token().to_text();
        for wrong in [
            String::new(),
            "inv_".into(),
            text[..69].into(),
            text[..70].into(),
            format!("{text}="),
            format!("{text}A"),
            format!(" {text}"),
            format!("{text}\0"),
            text.to_uppercase(),
            text.replacen("inv_", "org_", 1),
            text[..text.len() - 1].into(),
            "é".repeat(46),
            "inv_é".repeat(20),
        ] {
            assert!(wrong.parse::<Token>().is_err(), "{wrong:?}");
        }
    }
}
