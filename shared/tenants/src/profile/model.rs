//! A tenant in full, and a change of it.

use bulkhead_kernel::fault::Violation;
use bulkhead_tenancy::Slug;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{Suspension, Tenant, TenantName};

/// A JSON object.
pub type Document = Map<String, Value>;

/// What settings and custom fields may take together, in bytes of JSON without spaces.
const MAX_BYTES: usize = 16 * 1024;

/// A tenant in full.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The tenant.
    pub tenant: Tenant,
    /// How far it is closed, where it is suspended.
    pub suspension: Option<Suspension>,
    /// When its data goes, where it is deleted.
    pub purge_at: Option<DateTime<Utc>>,
    /// How it wants the product to behave.
    pub settings: Document,
    /// What the platform keeps about it.
    pub custom_fields: Document,
}

/// A change of a tenant; what is left out stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// What it is called from now on.
    pub name: Option<TenantName>,
    /// What people type from now on.
    pub slug: Option<Slug>,
    /// A merge patch of the settings.
    pub settings: Option<Document>,
    /// A merge patch of the custom fields.
    pub custom_fields: Option<Document>,
}

impl Profile {
    /// What stands here, as a number: the `ETag`. It follows from the content, so what is changed back is what it was.
    #[must_use]
    pub fn version(&self) -> i64 {
        let Tenant { name, slug, status, .. } = &self.tenant;
        let state = (status.as_str(), self.suspension.map(Suspension::as_str), self.purge_at);
        let content = json!([name, slug, state, self.settings, self.custom_fields]);
        let digest = Sha256::digest(content.to_string());
        let bits = digest
            .iter()
            .take(8)
            .fold(0, |bits: u64, byte| bits << 8 | u64::from(*byte));
        // Without the sign.
        (bits >> 1).cast_signed()
    }
}

impl Changes {
    /// Checks what came over the wire and reports everything that is wrong with it.
    pub fn parse(
        name: Option<&str>,
        slug: Option<&str>,
        settings: Option<Document>,
        custom_fields: Option<Document>,
    ) -> Result<Self, Vec<Violation>> {
        let name = name.map(str::parse).transpose();
        let slug = slug.map(str::parse).transpose();
        let slug =
            slug.map_err(|malformed: bulkhead_tenancy::MalformedSlug| Violation::new("/slug", malformed.to_string()));
        match (name, slug) {
            (Ok(name), Ok(slug)) => Ok(Self {
                name,
                slug,
                settings,
                custom_fields,
            }),
            (name, slug) => Err(name.err().into_iter().chain(slug.err()).collect()),
        }
    }
}

/// The document with the patch laid over it: `null` takes a member away, an object is merged, anything else replaces
/// (RFC 7396).
pub(crate) fn merge(document: &mut Document, patch: &Document) {
    for (name, change) in patch {
        match change {
            Value::Null => {
                document.remove(name);
            }
            Value::Object(change) => {
                let member = document.entry(name).or_insert_with(|| Value::Object(Map::new()));
                if !member.is_object() {
                    *member = Value::Object(Map::new());
                }
                if let Value::Object(member) = member {
                    merge(member, change);
                }
            }
            _ => {
                document.insert(name.clone(), change.clone());
            }
        }
    }
}

/// What no schema can allow: more than the bound, and the one character that the database does not store.
pub(crate) fn check_bounds(documents: [(&str, &Document); 2]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut n_bytes = 0;
    for (pointer, document) in documents {
        let text = serde_json::to_string(document).unwrap_or_default();
        n_bytes += text.len();
        if has_nul(&text) {
            violations.push(Violation::new(pointer, "must not contain the character U+0000"));
        }
    }
    if n_bytes > MAX_BYTES {
        violations.push(too_large());
    }
    violations
}

pub(crate) fn too_large() -> Violation {
    Violation::new(
        "/settings",
        "must not take more than 16 KiB together with the custom fields",
    )
}

/// JSON writes it as an escape: an odd number of backslashes before `u0000`.
fn has_nul(json: &str) -> bool {
    json.match_indices("u0000").any(|(at, _)| {
        let before = json[..at].bytes().rev().take_while(|&byte| byte == b'\\');
        before.count() % 2 == 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Document {
        match value {
            Value::Object(object) => object,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_patch_is_laid_over_as_rfc_7396_says() {
        for (target, patch, expected) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (
                json!({"a": "foo"}),
                json!({"a": {"bb": {"ccc": null}}}),
                json!({"a": {"bb": {}}}),
            ),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        ] {
            let mut document = object(target);
            merge(&mut document, &object(patch));
            assert_eq!(document, object(expected));
        }
    }

    #[test]
    fn the_bound_and_the_character_that_cannot_be_stored_are_refused() {
        let check = |settings: Value, fields: Value| {
            check_bounds([("/settings", &object(settings)), ("/custom_fields", &object(fields))]).len()
        };
        let half = "x".repeat(8 * 1024 - 8);
        assert_eq!(check(json!({"a": half}), json!({"b": half})), 0);
        assert_eq!(check(json!({"a": half}), json!({"bcdefghij": half})), 1);
        assert_eq!(check(json!({"a": "\\u0000"}), json!({})), 0);
        assert_eq!(check(json!({"a": "\u{0}"}), json!({"\\\u{0}": 1})), 2);
    }

    #[test]
    fn everything_wrong_with_a_change_is_told_at_once() {
        let wrong = Changes::parse(Some(""), Some("No"), None, None).unwrap_err();
        let pointers: Vec<_> = wrong.iter().map(|violation| violation.pointer.as_str()).collect();
        assert_eq!(pointers, ["/name", "/slug"]);
        assert_eq!(Changes::parse(None, None, None, None), Ok(Changes::default()));
    }
}
