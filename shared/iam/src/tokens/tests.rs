//! The attack pack: every way we know to forge, alter, confuse or outlive a token (RFC 8725, RFC 9068).

use std::path::{Path, PathBuf};

use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};

use super::*;
use crate::fixtures;

const NOW: i64 = 1_800_000_000;

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

fn pem(name: &str) -> Vec<u8> {
    std::fs::read(testdata(name)).unwrap()
}

/// Tokens over the two keys of the test data, at [`NOW`].
struct Bench {
    tokens: Tokens,
    clock: Clock,
    newer: String,
    older: String,
}

impl Bench {
    fn new() -> Self {
        let clock = Clock::manual(DateTime::from_timestamp(NOW, 0).unwrap());
        let keys = Keys::load(&testdata("keys")).unwrap();
        let [newer, older] = [0, 1].map(|index| keys.public()[index].id.clone());
        Self {
            tokens: Tokens::new(keys, &fixtures::settings(), clock.clone()),
            clock,
            newer,
            older,
        }
    }

    fn header(&self) -> Value {
        json!({"alg": "RS256", "typ": "at+jwt", "kid": self.newer})
    }

    /// A token with the right key, some fields of the header replaced (`null` removes one).
    fn with_header(&self, changes: &Value) -> String {
        let header = merged(self.header(), changes);
        sign(&header, &payload(), &ours(), Algorithm::RS256)
    }

    /// A token with the right key, some claims replaced (`null` removes one).
    fn with_claims(&self, changes: &Value) -> String {
        sign(&self.header(), &merged(payload(), changes), &ours(), Algorithm::RS256)
    }
}

fn ours() -> EncodingKey {
    EncodingKey::from_rsa_pem(&pem("keys/20260701T000000Z_newer.pem")).unwrap()
}

fn foreign() -> EncodingKey {
    EncodingKey::from_rsa_pem(&pem("foreign.pem")).unwrap()
}

fn payload() -> Value {
    json!({
        "iss": "https://id.example.com",
        "aud": "bulkhead",
        "sub": IdentityId::from(Uuid::from_u128(1)),
        "org_id": TenantId::from(Uuid::from_u128(2)),
        "sid": SessionId::from(Uuid::from_u128(3)),
        "jti": "4",
        "iat": NOW - 10,
        "nbf": NOW - 10,
        "exp": NOW + 590,
        "amr": ["pwd"],
        "auth_time": NOW - 3600,
    })
}

fn merged(mut base: Value, changes: &Value) -> Value {
    for (key, value) in changes.as_object().unwrap() {
        let fields = base.as_object_mut().unwrap();
        match value {
            Value::Null => fields.remove(key),
            value => fields.insert(key.clone(), value.clone()),
        };
    }
    base
}

fn sign(header: &Value, payload: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let [header, payload] = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    sign_parts(&header, &payload, key, algorithm)
}

fn sign_parts(header: &str, payload: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{header}.{payload}");
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

/// An HS256 token whose "secret" is our public key, in the forms a confused library would take it.
fn confused(bench: &Bench) -> Vec<(String, String)> {
    let public = &bench.tokens.jwks()[0];
    let modulus = URL_SAFE_NO_PAD.decode(&public.modulus).unwrap();
    let jwk = json!({"kty": "RSA", "n": public.modulus, "e": public.exponent}).to_string();
    let body = STANDARD.encode(&modulus);
    let spki = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n");
    [
        ("modulus", modulus),
        ("jwk", jwk.into_bytes()),
        ("pem", spki.into_bytes()),
    ]
    .into_iter()
    .map(|(form, secret)| {
        let key = EncodingKey::from_secret(&secret);
        let header = merged(bench.header(), &json!({"alg": "HS256"}));
        let token = sign(&header, &payload(), &key, Algorithm::HS256);
        (format!("HS256 with our public key as {form}"), token)
    })
    .collect()
}

fn bad_headers(bench: &Bench) -> Vec<(String, String)> {
    let embedded = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"});
    let changes = [
        json!({"alg": "none"}),
        json!({"alg": "None"}),
        json!({"alg": "rs256"}),
        json!({"alg": "RS384"}),
        json!({"alg": "PS256"}),
        json!({"alg": "ES256"}),
        json!({"alg": null}),
        json!({"alg": ["RS256"]}),
        json!({"typ": "JWT"}),
        json!({"typ": "at+JWT "}),
        json!({"typ": "logout+jwt"}),
        json!({"typ": null}),
        json!({"typ": true}),
        json!({"kid": null}),
        json!({"kid": ""}),
        json!({"kid": "unknown"}),
        json!({"kid": "../../../../dev/null"}),
        json!({"kid": "' OR '1'='1"}),
        json!({"kid": 7}),
        json!({"kid": bench.older}),
        json!({"jku": "https://evil.example/jwks.json"}),
        json!({"x5u": "https://evil.example/cert.pem"}),
        json!({"jwk": embedded}),
        json!({"x5c": ["AAAA"]}),
        json!({"crit": ["exp"]}),
        json!({"crit": []}),
        json!({"b64": false}),
        json!({"zip": "DEF"}),
        json!({"cty": "JWT"}),
    ];
    let cases = changes.iter();
    cases
        .map(|change| (format!("header {change}"), bench.with_header(change)))
        .collect()
}

fn bad_claims(bench: &Bench) -> Vec<(String, String)> {
    let required = [
        "iss",
        "aud",
        "sub",
        "sid",
        "jti",
        "iat",
        "nbf",
        "exp",
        "amr",
        "auth_time",
    ];
    let missing = required.iter().map(|claim| json!({ *claim: null }));
    let wrong = [
        json!({"iss": "https://evil.example"}),
        json!({"iss": "https://id.example.com/"}),
        json!({"aud": "other"}),
        json!({"aud": "Bulkhead"}),
        json!({"aud": ["bulkhead"]}),
        json!({"aud": ["other", "bulkhead"]}),
        json!({"aud": []}),
        json!({"sub": "ada@example.com"}),
        json!({"sub": "org_00000000000000000000000000000001"}),
        json!({"sub": ""}),
        json!({"sid": "usr_00000000000000000000000000000003"}),
        json!({"org_id": "acme"}),
        json!({"org_id": "t_00000000000000000000000000000002"}),
        json!({"jti": ""}),
        json!({"jti": 4}),
        json!({"nbf": NOW + 6}),
        json!({"iat": NOW + 6}),
        json!({"iat": NOW + 600}),
        json!({"exp": "2099-01-01"}),
        json!({"exp": (NOW + 590).to_string()}),
        json!({"exp": 1e300}),
        json!({"exp": i64::MAX}),
        json!({"exp": NOW - 20}),
        json!({"nbf": i64::MAX}),
        json!({"auth_time": i64::MIN}),
        json!({"amr": "pwd"}),
    ];
    missing
        .chain(wrong)
        .map(|change| (format!("claims {change}"), bench.with_claims(&change)))
        .collect()
}

fn bad_texts(bench: &Bench) -> Vec<(String, String)> {
    let good = bench.with_claims(&json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    let [header, body, signature] = parts[..] else {
        panic!("three parts")
    };
    let other_body = URL_SAFE_NO_PAD.encode(merged(payload(), &json!({"sub": IdentityId::new()})).to_string());
    let none = URL_SAFE_NO_PAD.encode(merged(bench.header(), &json!({"alg": "none"})).to_string());
    let twice = format!(
        r#"{{"alg":"none","alg":"RS256","typ":"at+jwt","kid":"{}"}}"#,
        bench.newer
    );
    let two_subjects = payload()
        .to_string()
        .replacen('{', r#"{"sub":"usr_00000000000000000000000000000009","#, 1);
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let cases = [
        ("empty", String::new()),
        ("dots", "..".into()),
        ("one part", header.into()),
        ("two parts", format!("{header}.{body}")),
        ("four parts", format!("{good}.AAAA")),
        ("no signature", format!("{header}.{body}.")),
        ("alg none without a signature", format!("{none}.{body}.")),
        (
            "another payload under the signature",
            format!("{header}.{other_body}.{signature}"),
        ),
        (
            "another header under the signature",
            format!("{none}.{body}.{signature}"),
        ),
        (
            "a flipped signature",
            format!("{header}.{body}.{flipped}{}", &signature[1..]),
        ),
        (
            "a shortened signature",
            format!("{header}.{body}.{}", &signature[..signature.len() - 4]),
        ),
        ("padding", format!("{header}.{body}.{signature}==")),
        ("a space in front", format!(" {good}")),
        ("a line break behind", format!("{good}\n")),
        ("NUL", "\0.\0.\0".into()),
        ("far too long", format!("{}.{good}", "A".repeat(MAX_LEN))),
        (
            "foreign key under our kid",
            sign(&bench.header(), &payload(), &foreign(), Algorithm::RS256),
        ),
        (
            "PS256 by our own key",
            sign(
                &merged(bench.header(), &json!({"alg": "PS256"})),
                &payload(),
                &ours(),
                Algorithm::PS256,
            ),
        ),
        (
            "RS512 by our own key",
            sign(
                &merged(bench.header(), &json!({"alg": "RS512"})),
                &payload(),
                &ours(),
                Algorithm::RS512,
            ),
        ),
        (
            "alg twice",
            sign_parts(&URL_SAFE_NO_PAD.encode(twice), body, &ours(), Algorithm::RS256),
        ),
        (
            "sub twice",
            sign_parts(header, &URL_SAFE_NO_PAD.encode(two_subjects), &ours(), Algorithm::RS256),
        ),
        (
            "payload in standard base64",
            sign_parts(
                header,
                &STANDARD.encode(payload().to_string() + "  "),
                &ours(),
                Algorithm::RS256,
            ),
        ),
        (
            "payload is an array",
            sign_parts(header, &URL_SAFE_NO_PAD.encode("[]"), &ours(), Algorithm::RS256),
        ),
        (
            "payload is not JSON",
            sign_parts(header, &URL_SAFE_NO_PAD.encode("sub=1"), &ours(), Algorithm::RS256),
        ),
    ];
    cases
        .into_iter()
        .map(|(name, token)| (name.to_owned(), token))
        .collect()
}

#[test]
fn forged_and_altered_tokens_are_invalid() {
    let bench = Bench::new();
    bench.tokens.verify(&bench.with_claims(&json!({}))).unwrap();
    let cases = [
        confused(&bench),
        bad_headers(&bench),
        bad_claims(&bench),
        bad_texts(&bench),
    ]
    .concat();
    assert!(cases.len() >= 80, "{} cases", cases.len());
    let accepted: Vec<_> = cases
        .iter()
        .map(|(name, token)| (name, bench.tokens.verify(token)))
        .filter(|(_, result)| !matches!(result, Err(TokenError::Invalid)))
        .collect();
    assert!(accepted.is_empty(), "{accepted:#?}");
}

#[test]
fn an_issued_token_says_what_was_granted() {
    let bench = Bench::new();
    for tenant in [None, Some(TenantId::new())] {
        let signed_in_at = DateTime::from_timestamp(NOW - 100, 0).unwrap();
        let grant = Grant {
            identity: IdentityId::new(),
            session: SessionId::new(),
            tenant,
            methods: vec!["pwd".into()],
            signed_in_at,
        };
        let claims = bench
            .tokens
            .verify(&bench.tokens.issue(grant.clone()).unwrap())
            .unwrap();
        assert_eq!(
            (claims.identity, claims.session, claims.tenant),
            (grant.identity, grant.session, tenant)
        );
        assert_eq!((claims.signed_in_at, claims.methods), (signed_in_at, grant.methods));
        assert_eq!(claims.expires_at - claims.issued_at, TimeDelta::seconds(600));
    }
}

#[test]
fn a_token_expires_and_is_told_apart_from_a_forged_one() {
    let bench = Bench::new();
    let good = bench.with_claims(&json!({}));
    let forged = sign(&bench.header(), &payload(), &foreign(), Algorithm::RS256);
    bench.clock.advance(TimeDelta::seconds(594));
    bench.tokens.verify(&good).unwrap();
    bench.clock.advance(TimeDelta::seconds(1));
    assert!(matches!(bench.tokens.verify(&good), Err(TokenError::Expired)));
    assert!(matches!(bench.tokens.verify(&forged), Err(TokenError::Invalid)));
    let for_others = bench.with_claims(&json!({"aud": "other"}));
    assert!(matches!(bench.tokens.verify(&for_others), Err(TokenError::Invalid)));
}

#[test]
fn five_seconds_of_clock_skew_are_forgiven() {
    let bench = Bench::new();
    let early = json!({"iat": NOW + 5, "nbf": NOW + 5});
    bench.tokens.verify(&bench.with_claims(&early)).unwrap();
}

#[test]
fn an_older_key_of_the_set_still_verifies_and_no_longer_signs() {
    let bench = Bench::new();
    let key = EncodingKey::from_rsa_pem(&pem("keys/20260101T000000Z_older.pem")).unwrap();
    let header = merged(bench.header(), &json!({"kid": bench.older}));
    bench
        .tokens
        .verify(&sign(&header, &payload(), &key, Algorithm::RS256))
        .unwrap();
    let grant = Grant {
        identity: IdentityId::new(),
        session: SessionId::new(),
        tenant: None,
        methods: Vec::new(),
        signed_in_at: DateTime::UNIX_EPOCH,
    };
    let issued = bench.tokens.issue(grant).unwrap();
    let header: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(issued.split('.').next().unwrap()).unwrap()).unwrap();
    assert_eq!(header, bench.header());
    assert_eq!(
        bench.tokens.jwks().iter().map(|key| &key.id).collect::<Vec<_>>(),
        [&bench.newer, &bench.older]
    );
}
