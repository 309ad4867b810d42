//! What is wrong with the settings, all at once.

use std::fmt;

use super::Section;

/// One setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The environment variable, or the file.
    pub key: String,
    /// What is expected of it; never what was found, as that may be a secret.
    pub expected: String,
    /// The section of a required setting that is not set.
    missing_in: Option<Section>,
}

/// Everything that is wrong with the settings; one line each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// All of them, in the order of the environment first and of the defaults then.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, key: impl Into<String>, expected: impl Into<String>) {
        self.push(key.into(), expected.into(), None);
    }

    pub(super) fn add_missing(&mut self, section: Section, key: impl Into<String>, expected: impl Into<String>) {
        self.push(key.into(), expected.into(), Some(section));
    }

    pub(super) fn keep_missing_of(&mut self, needed: &[Section]) {
        self.0
            .retain(|mistake| mistake.missing_in.is_none_or(|section| needed.contains(&section)));
    }

    /// A value of the wrong type leaves the default in place, so one setting is never listed twice unless two rules
    /// name it.
    fn push(&mut self, key: String, expected: String, missing_in: Option<Section>) {
        self.0.push(Mistake {
            key,
            expected,
            missing_in,
        });
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.expected)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
