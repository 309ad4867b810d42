//! Turns settings into the fields of a section and notes what is out of range. A field that cannot be read gets a stand-in:
//! the mistake keeps the section from ever being used.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use toml::Value;
use url::Url;

use super::{Section, mistakes::Mistakes, settings::Settings, template};
use crate::secret::Secret;

/// Reads sections and remembers which settings were asked for.
pub(super) struct Reader<'a> {
    settings: &'a Settings,
    mistakes: &'a mut Mistakes,
    read: BTreeSet<(&'static str, &'static str)>,
}

/// Reads the settings of one section.
pub(super) struct SectionReader<'r, 'a> {
    reader: &'r mut Reader<'a>,
    section: Section,
}

impl<'a> Reader<'a> {
    pub(super) fn new(settings: &'a Settings, mistakes: &'a mut Mistakes) -> Self {
        let read = BTreeSet::new();
        Self {
            settings,
            mistakes,
            read,
        }
    }

    pub(super) fn section(&mut self, section: Section) -> SectionReader<'_, 'a> {
        SectionReader { reader: self, section }
    }

    /// A default that no section reads would be a setting without effect.
    pub(super) fn finish(self) {
        for entry in self.settings.entries() {
            if !self.read.contains(&(entry.section, entry.key)) {
                self.mistakes
                    .add(entry.env_key(), "has a default, but nothing reads it");
            }
        }
    }
}

impl SectionReader<'_, '_> {
    /// Notes a mistake about `key`.
    pub(super) fn refuse(&mut self, key: &str, expected: impl Into<String>) {
        let key = template::env_key(self.section.name(), key);
        self.reader.mistakes.add(key, expected);
    }

    /// Notes that `key` is needed and not set, which matters only to those that need the section.
    pub(super) fn require(&mut self, key: &str, expected: impl Into<String>) {
        let key = template::env_key(self.section.name(), key);
        self.reader.mistakes.add_missing(self.section, key, expected);
    }

    fn value(&mut self, key: &'static str) -> Option<Value> {
        let section = self.section.name();
        self.reader.read.insert((section, key));
        let value = self.reader.settings.get(section, key).cloned();
        if value.is_none() {
            self.refuse(key, "is read, but has no default");
        }
        value
    }

    /// The further clusters with their URLs by key, each checked to be one of `schemes`.
    pub(super) fn clusters(&mut self, schemes: &[&str]) -> Vec<(String, BTreeMap<&'static str, Secret>)> {
        let settings = self.reader.settings;
        let clusters = settings.clusters().iter().map(|(name, values)| {
            let urls = values.iter().filter(|(key, _)| key.ends_with("_url"));
            let urls = urls.map(|(key, (text, _))| {
                if !Url::parse(text).is_ok_and(|url| schemes.contains(&url.scheme())) {
                    let key = format!("clusters__{name}__{key}");
                    self.refuse(
                        &key,
                        format!("must be a URL that begins with {}://", schemes.join(":// or ")),
                    );
                }
                (*key, Secret::new(text.clone()))
            });
            (name.clone(), urls.collect())
        });
        clusters.collect()
    }

    /// A whole number that a further cluster may have of its own.
    pub(super) fn number_of_cluster(&mut self, name: &str, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let (text, _) = self.reader.settings.clusters().get(name)?.get(key)?;
        let number = text.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let key = format!("clusters__{name}__{key}");
            self.refuse(&key, format!("must be from {} to {}", range.start(), range.end()));
        }
        number
    }

    /// A whole number within `range`, in any integer type.
    pub(super) fn number<T: TryFrom<i64> + Default>(&mut self, key: &'static str, range: RangeInclusive<i64>) -> T {
        let number = self.value(key).and_then(|value| value.as_integer());
        let number = number.filter(|number| range.contains(number));
        number.and_then(|number| T::try_from(number).ok()).unwrap_or_else(|| {
            self.refuse(key, format!("must be from {} to {}", range.start(), range.end()));
            T::default()
        })
    }

    pub(super) fn millis(&mut self, key: &'static str, range: RangeInclusive<i64>) -> Duration {
        Duration::from_millis(self.number(key, range))
    }

    pub(super) fn secs(&mut self, key: &'static str, range: RangeInclusive<i64>) -> Duration {
        Duration::from_secs(self.number(key, range))
    }

    pub(super) fn flag(&mut self, key: &'static str) -> bool {
        self.value(key).and_then(|value| value.as_bool()).unwrap_or_default()
    }

    /// Text that may be empty.
    pub(super) fn text(&mut self, key: &'static str) -> String {
        match self.value(key) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        }
    }

    /// Text with something in it.
    pub(super) fn some_text(&mut self, key: &'static str) -> String {
        let text = self.text(key);
        if text.is_empty() {
            self.refuse(key, "must not be empty");
        }
        text
    }

    pub(super) fn path(&mut self, key: &'static str) -> PathBuf {
        self.some_text(key).into()
    }

    /// One of the named values.
    pub(super) fn choice<T: Copy + Default>(&mut self, key: &'static str, choices: &[(&str, T)]) -> T {
        let text = self.text(key);
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == text) {
            return *choice;
        }
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        self.refuse(key, format!("must be {}", names.join(" or ")));
        T::default()
    }

    pub(super) fn list(&mut self, key: &'static str) -> Vec<String> {
        let Some(Value::Array(items)) = self.value(key) else {
            return Vec::new();
        };
        items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    pub(super) fn address(&mut self, key: &'static str) -> SocketAddr {
        self.text(key).parse().unwrap_or_else(|_| {
            self.refuse(key, "must be an IP address and a port, such as 127.0.0.1:8080");
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
        })
    }

    /// A URL of one of `schemes` without credentials, query or fragment; kept without a slash at its end. May be empty.
    pub(super) fn base_url(&mut self, key: &'static str, schemes: &[&str]) -> String {
        let text = self.text(key);
        if !text.is_empty() && !is_base_url(&text, schemes) {
            self.refuse(
                key,
                format!(
                    "must be a {}:// URL without credentials or query",
                    schemes.join(":// or ")
                ),
            );
        }
        text.trim_end_matches('/').to_owned()
    }

    /// A key nobody can guess. May be empty.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<Secret> {
        let text = self.text(key);
        if !text.is_empty() && text.len() < 32 {
            self.refuse(
                key,
                "must have at least 32 characters, as `openssl rand -base64 32` gives",
            );
        }
        (!text.is_empty()).then(|| Secret::new(text))
    }

    /// A URL that may carry credentials.
    pub(super) fn secret_url(&mut self, key: &'static str, schemes: &[&str]) -> Option<Secret> {
        let text = self.text(key);
        if text.is_empty() {
            return None;
        }
        let is_url = Url::parse(&text).is_ok_and(|url| schemes.contains(&url.scheme()));
        if !is_url {
            self.refuse(
                key,
                format!("must be a URL that begins with {}://", schemes.join(":// or ")),
            );
        }
        Some(Secret::new(text))
    }

    /// As [`Self::secret_url`], and missing is a mistake; the stand-in is empty.
    pub(super) fn required_secret_url(&mut self, key: &'static str, schemes: &[&str]) -> Secret {
        self.secret_url(key, schemes).unwrap_or_else(|| {
            self.require(
                key,
                format!("is required: a URL that begins with {}://", schemes.join(":// or ")),
            );
            Secret::new("")
        })
    }
}

fn is_base_url(text: &str, schemes: &[&str]) -> bool {
    Url::parse(text).is_ok_and(|url| {
        schemes.contains(&url.scheme())
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    })
}
