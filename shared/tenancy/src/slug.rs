//! Slugs: the names of tenants that people type. They can be renamed; nothing permanent is derived from them.

use std::{fmt, str::FromStr};

/// 2 to 63 bytes of lower-case letters, digits and single dashes, beginning with a letter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slug(String);

/// The text is not a slug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a slug is 2 to 63 lower-case letters, digits and single dashes, and begins with a letter")]
pub struct MalformedSlug;

impl Slug {
    /// The longest slug, in bytes.
    pub const MAX_LEN: usize = 63;

    /// The slug as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a slug could look like for a tenant of this name; `None` when too little of the name can be kept.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let words: Vec<String> = name
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_ascii_lowercase)
            .collect();
        let joined = words.join("-");
        let start = joined.find(|c: char| c.is_ascii_lowercase())?;
        let cut = &joined[start..joined.len().min(start + Self::MAX_LEN)];
        cut.trim_end_matches('-').parse().ok()
    }
}

impl FromStr for Slug {
    type Err = MalformedSlug;

    fn from_str(text: &str) -> Result<Self, MalformedSlug> {
        let is_slug = (2..=Self::MAX_LEN).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text
                .split('-')
                .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
        if is_slug {
            Ok(Self(text.into()))
        } else {
            Err(MalformedSlug)
        }
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_slugs_are_slugs() {
        for good in ["ab", "acme", "acme-2", "a1-b2-c3"] {
            assert_eq!(good.parse::<Slug>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "a",
            "Acme",
            "2acme",
            "-acme",
            "acme-",
            "a--b",
            "a_b",
            "a b",
            "ä-b",
            "a\u{0}b",
            &"a".repeat(64),
        ] {
            assert_eq!(bad.parse::<Slug>(), Err(MalformedSlug), "{bad:?}");
        }
    }

    #[test]
    fn a_name_suggests_a_slug() {
        let suggest = |name| Slug::from_name(name).map(|slug| slug.to_string());
        assert_eq!(suggest("Acme, Inc.").as_deref(), Some("acme-inc"));
        assert_eq!(suggest("  3 Wise Men ").as_deref(), Some("wise-men"));
        assert_eq!(suggest("株式会社"), None);
        assert_eq!(suggest(&"long name ".repeat(20)).unwrap().len(), 63);
    }
}
