//! Secrets and signatures in the form of Standard Webhooks.

use base64::{Engine, engine::general_purpose::STANDARD};
use bulkhead_iam::signing_keys::Vault;
use bulkhead_kernel::{
    ids::{MessageId, TenantId, WebhookId},
    secret::Secret,
};
use hmac::{Hmac, Mac};
use rand::{RngCore, rngs::OsRng};
use sha2::Sha256;

use crate::WebhookError;

/// The text form begins with this.
const PREFIX: &str = "whsec_";

/// What messages of one webhook are signed with: 32 random bytes.
pub(crate) struct SigningSecret(Vec<u8>);

impl SigningSecret {
    pub(crate) fn generate() -> Self {
        let mut bytes = vec![0; 32];
        OsRng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// As its owner gets it.
    pub(crate) fn text(&self) -> Secret {
        Secret::new(format!("{PREFIX}{}", STANDARD.encode(&self.0)))
    }

    /// As it is kept: what is copied to another row or tenant does not open there.
    pub(crate) fn seal(&self, vault: &Vault, tenant: TenantId, webhook: WebhookId) -> Result<Vec<u8>, WebhookError> {
        vault
            .seal(&place(tenant, webhook), &self.0)
            .map_err(WebhookError::Vault)
    }

    pub(crate) fn open(
        vault: &Vault,
        tenant: TenantId,
        webhook: WebhookId,
        sealed: &[u8],
    ) -> Result<Self, WebhookError> {
        let opened = vault.open(&place(tenant, webhook), sealed);
        opened.map(Self).map_err(WebhookError::Vault)
    }

    /// One entry of the header `webhook-signature`.
    pub(crate) fn sign(&self, id: MessageId, timestamp: i64, body: &[u8]) -> String {
        self.sign_text(&id.to_string(), timestamp, body)
    }

    fn sign_text(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        // HMAC takes keys of every length.
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.0).unwrap_or_else(|_| unreachable!());
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

fn place(tenant: TenantId, webhook: WebhookId) -> String {
    format!("{tenant}/webhooks/{webhook}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Standard Webhooks and of its libraries.
    #[test]
    fn a_signature_is_that_of_the_standard() {
        let bytes = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let secret = SigningSecret(bytes);
        assert!(secret.text().expose() == "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let body = br#"{"test": 2432232314}"#;
        let signed = secret.sign_text("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        for (id, timestamp, body) in [
            ("msg_p5jXN8AQM9LWM0D4loKWxJel", 1_614_265_330, &body[..]),
            ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_331, &body[..]),
            ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, &body[1..]),
        ] {
            assert_ne!(secret.sign_text(id, timestamp, body), signed);
        }
    }

    #[test]
    fn each_secret_is_another_and_long_enough() {
        let [one, other] = [SigningSecret::generate(), SigningSecret::generate()];
        assert!(one.text() != other.text());
        let text = one.text();
        let bytes = STANDARD.decode(text.expose().strip_prefix(PREFIX).unwrap()).unwrap();
        assert!((24..=64).contains(&bytes.len()), "what the standard asks for");
    }
}
