//! Statements that the platform signs for others to keep: a JWS with the keys of the access tokens and a `typ` of its own,
//! so that no statement passes for a token and no token for a statement.

use jsonwebtoken::Algorithm;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Keys, TokenError, URL_SAFE_NO_PAD, decode};
use base64::Engine as _;

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

impl Keys {
    /// The statement as a compact JWS (RFC 7515), RS256 under the newest key.
    pub fn sign_statement(&self, typ: &'static str, statement: &impl Serialize) -> Result<String, TokenError> {
        self.sign_as(typ, statement)
    }

    /// What the statement says, if one of these keys signed it as a statement of this type.
    pub fn verify_statement(&self, typ: &str, statement: &str) -> Result<Value, TokenError> {
        let (message, signature) = statement.rsplit_once('.').ok_or(TokenError::Invalid)?;
        let (header, payload) = message.split_once('.').ok_or(TokenError::Invalid)?;
        let header: Header = decode(header).ok_or(TokenError::Invalid)?;
        let key = self.verifying(&header.kid).ok_or(TokenError::Invalid)?;
        let is_signed = header.alg == "RS256"
            && header.typ == typ
            && jsonwebtoken::crypto::verify(signature, message.as_bytes(), key, Algorithm::RS256).unwrap_or(false);
        if is_signed {
            decode(payload).ok_or(TokenError::Invalid)
        } else {
            Err(TokenError::Invalid)
        }
    }
}

/// What a statement says, whoever made it.
pub fn read_statement(statement: &str) -> Option<Value> {
    let payload = statement.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn keys() -> Keys {
        Keys::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/keys"))).unwrap()
    }

    #[test]
    fn a_statement_is_read_back_under_its_type_alone() {
        let keys = keys();
        let signed = keys.sign_statement("note+jws", &json!({"n": 1})).unwrap();
        assert_eq!(keys.verify_statement("note+jws", &signed).unwrap(), json!({"n": 1}));
        assert_eq!(read_statement(&signed), Some(json!({"n": 1})));
        assert!(keys.verify_statement("at+jwt", &signed).is_err());
    }

    #[test]
    fn an_altered_statement_is_refused() {
        let keys = keys();
        let signed = keys.sign_statement("note+jws", &json!({"n": 1})).unwrap();
        let other = keys.sign_statement("note+jws", &json!({"n": 2})).unwrap();
        let (parts, others): (Vec<_>, Vec<_>) = (signed.split('.').collect(), other.split('.').collect());
        for forged in [
            format!("{}.{}.{}", parts[0], others[1], parts[2]),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{}.{}", parts[0], parts[1]),
            URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"note+jws","kid":"x"}"#) + "." + parts[1] + ".",
            String::new(),
        ] {
            assert!(keys.verify_statement("note+jws", &forged).is_err(), "{forged}");
        }
    }
}
