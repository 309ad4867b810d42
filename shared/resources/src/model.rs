//! A thing, what may be asked for, and its rules.

use bulkhead_kernel::{fault::Violation, ids::ResourceId, page::PageRequest};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

/// A JSON object of any shape.
pub type Attributes = Map<String, Value>;

/// The longest name, in characters.
const NAME_CHARS: usize = 100;

/// The longest type, and the longest name of an attribute, in bytes.
const WORD_BYTES: usize = 50;

/// What the attributes may take, in bytes of JSON without spaces.
const MAX_BYTES: usize = 16 * 1024;

/// How deep attributes may lie in each other; those of the thing itself lie 1 deep.
const MAX_DEPTH: usize = 8;

/// A thing of the tenant's.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Its id.
    pub id: ResourceId,
    /// What it is; never changes.
    pub kind: String,
    /// Its name, of which there is one for each type.
    pub name: String,
    /// What it is like.
    pub attributes: Attributes,
    /// Rises with every change.
    pub version: i64,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// A thing that somebody wants.
#[derive(Debug, Clone, PartialEq)]
pub struct NewResource {
    /// What it is to be.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What it is to be like.
    pub attributes: Attributes,
}

impl NewResource {
    /// The same without spaces around the name, or everything that is wrong with it.
    pub(crate) fn validate(&self) -> Result<Self, Vec<Violation>> {
        let mut violations = Vec::new();
        if !is_kind(&self.kind) {
            violations.push(Violation::new(
                "/type",
                "must begin with a lower-case letter and have up to 50 lower-case letters, digits and underscores",
            ));
        }
        let name = check_name(&self.name, &mut violations);
        check_attributes(&self.attributes, &mut violations);
        if violations.is_empty() {
            Ok(Self { name, ..self.clone() })
        } else {
            Err(violations)
        }
    }
}

/// A change of a thing; what is left out stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Its name from now on.
    pub name: Option<String>,
    /// All its attributes from now on.
    pub attributes: Option<Attributes>,
}

impl Changes {
    /// What the thing is after the change, or everything that is wrong with it.
    pub(crate) fn apply(&self, before: &Resource) -> Result<Resource, Vec<Violation>> {
        let mut violations = Vec::new();
        let mut after = before.clone();
        if let Some(name) = &self.name {
            after.name = check_name(name, &mut violations);
        }
        if let Some(attributes) = &self.attributes {
            check_attributes(attributes, &mut violations);
            after.attributes.clone_from(attributes);
        }
        if violations.is_empty() {
            Ok(after)
        } else {
            Err(violations)
        }
    }
}

/// Which things, and in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceQuery {
    /// Of this type alone.
    pub kind: Option<String>,
    /// Part of the name, whatever its case.
    pub search: Option<String>,
    /// The order.
    pub sort: Sort,
    /// Which page.
    pub page: PageRequest,
}

impl ResourceQuery {
    /// What has no NUL in it can be looked for.
    pub(crate) fn check(&self) -> Result<(), Vec<Violation>> {
        let is_wrong = |text: &Option<String>| {
            text.as_ref()
                .is_some_and(|text| text.len() > 200 || text.contains('\0'))
        };
        let wrong = [("type", &self.kind), ("search", &self.search)].into_iter();
        let violations: Vec<Violation> = wrong
            .filter(|(_, text)| is_wrong(text))
            .map(|(name, _)| Violation::new(name, "must have up to 200 characters"))
            .collect();
        if violations.is_empty() { Ok(()) } else { Err(violations) }
    }
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// By name.
    Name,
    /// By name, backwards.
    NameDescending,
    /// The oldest first.
    Created,
    /// The newest first.
    #[default]
    CreatedDescending,
    /// What was changed longest ago first.
    Updated,
    /// What was changed last first.
    UpdatedDescending,
}

impl Sort {
    /// All orders with their words over the wire.
    const WORDS: [(&str, Self); 6] = [
        ("name", Self::Name),
        ("-name", Self::NameDescending),
        ("created_at", Self::Created),
        ("-created_at", Self::CreatedDescending),
        ("updated_at", Self::Updated),
        ("-updated_at", Self::UpdatedDescending),
    ];

    /// The order of this word.
    pub fn parse(word: &str) -> Result<Self, Violation> {
        let found = Self::WORDS.iter().find(|(name, _)| *name == word);
        let words = || Self::WORDS.map(|(name, _)| name).join(", ");
        found
            .map(|(_, sort)| *sort)
            .ok_or_else(|| Violation::new("sort", format!("must be one of {}", words())))
    }

    pub(crate) fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, sort)| *sort == self);
        found.map_or("", |(name, _)| name)
    }
}

fn is_kind(kind: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    kind.len() <= WORD_BYTES && kind.starts_with(|c: char| c.is_ascii_lowercase()) && kind.bytes().all(is_word)
}

fn check_name(name: &str, violations: &mut Vec<Violation>) -> String {
    let name = name.trim();
    let is_name = (1..=NAME_CHARS).contains(&name.chars().count()) && !name.contains(char::is_control);
    if !is_name {
        violations.push(Violation::new(
            "/name",
            "must have 1 to 100 characters, none of them a control character",
        ));
    }
    name.to_owned()
}

fn check_attributes(attributes: &Attributes, violations: &mut Vec<Violation>) {
    let before = violations.len();
    check_members(attributes, "/attributes", 1, violations);
    let n_bytes = serde_json::to_vec(attributes).map_or(usize::MAX, |json| json.len());
    if n_bytes > MAX_BYTES && violations.len() == before {
        violations.push(Violation::new(
            "/attributes",
            format!("must not take more than {MAX_BYTES} bytes"),
        ));
    }
}

fn check_members(members: &Attributes, pointer: &str, depth: usize, violations: &mut Vec<Violation>) {
    for (name, value) in members {
        // RFC 6901, section 3
        let place = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
        if name.is_empty() || name.len() > WORD_BYTES || name.contains(char::is_control) {
            violations.push(Violation::new(
                pointer,
                "has an attribute whose name does not have 1 to 50 bytes",
            ));
        } else {
            check_value(value, &place, depth, violations);
        }
    }
}

fn check_value(value: &Value, place: &str, depth: usize, violations: &mut Vec<Violation>) {
    let is_nested = matches!(value, Value::Object(_) | Value::Array(_));
    if is_nested && depth >= MAX_DEPTH {
        violations.push(Violation::new(place, format!("lies deeper than {MAX_DEPTH}")));
        return;
    }
    match value {
        Value::Object(members) => check_members(members, place, depth + 1, violations),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                check_value(item, &format!("{place}/{index}"), depth + 1, violations);
            }
        }
        Value::String(text) if text.contains('\0') => {
            violations.push(Violation::new(place, "must not contain the character NUL"));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointers(kind: &str, name: &str, attributes: Value) -> Vec<String> {
        let Value::Object(attributes) = attributes else {
            panic!("not an object")
        };
        let new = NewResource {
            kind: kind.into(),
            name: name.into(),
            attributes,
        };
        let violations = new.validate().err().unwrap_or_default();
        violations.into_iter().map(|violation| violation.pointer).collect()
    }

    #[test]
    fn everything_wrong_is_named_with_its_place() {
        assert!(pointers("disk", " fast ", json!({"size": 1, "tags": ["a", {"b": null}]})).is_empty());
        for kind in ["", "Disk", "1disk", "di-sk", "d\u{e9}", &"d".repeat(51)] {
            assert_eq!(pointers(kind, "x", json!({})), ["/type"], "{kind:?}");
        }
        for name in ["", "  ", "a\nb", "a\0", &"x".repeat(101)] {
            assert_eq!(pointers("disk", name, json!({})), ["/name"], "{name:?}");
        }
        assert_eq!(
            pointers("", "", json!({"": 1, "a/b": ["fine", "\0"], "c~": {"d": "\0"}})),
            [
                "/type",
                "/name",
                "/attributes",
                "/attributes/a~1b/1",
                "/attributes/c~0/d"
            ]
        );
    }

    #[test]
    fn attributes_are_bounded_in_depth_and_size() {
        let nested = |depth: usize| (1..depth).fold(json!({}), |inner, _| json!({ "a": inner }));
        assert!(pointers("disk", "x", nested(MAX_DEPTH)).is_empty());
        assert_eq!(
            pointers("disk", "x", nested(MAX_DEPTH + 1)),
            [format!("/attributes{}", "/a".repeat(MAX_DEPTH))]
        );
        assert!(pointers("disk", "x", json!({"a": "x".repeat(MAX_BYTES - 10)})).is_empty());
        assert_eq!(
            pointers("disk", "x", json!({"a": "x".repeat(MAX_BYTES)})),
            ["/attributes"]
        );
    }

    #[test]
    fn orders_have_words() {
        for (word, sort) in Sort::WORDS {
            assert_eq!(Sort::parse(word), Ok(sort));
            assert_eq!(sort.word(), word);
        }
        assert_eq!(Sort::parse("size").unwrap_err().pointer, "sort");
    }
}
