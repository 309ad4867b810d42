//! The commented defaults, and what is made of them for people.

use std::fmt::Write as _;

/// The defaults as they are shipped.
pub(super) const DEFAULTS: &str = include_str!("../../config/default.toml");

/// What the name of every variable of ours begins with.
pub(super) const PREFIX: &str = "BULKHEAD__";

/// One setting of the defaults.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) section: &'static str,
    pub(super) key: &'static str,
    /// The sentences above it, without the `#`.
    pub(super) doc: Vec<&'static str>,
}

impl Entry {
    pub(super) fn env_key(&self) -> String {
        env_key(self.section, self.key)
    }
}

/// The variable that sets `key` of `section`.
pub(super) fn env_key(section: &str, key: &str) -> String {
    format!("{PREFIX}{}__{}", section.to_uppercase(), key.to_uppercase())
}

/// All settings in the order of the file, which has one `key = value` per line.
pub(super) fn entries() -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut section = "";
    let mut doc = Vec::new();
    for line in DEFAULTS.lines() {
        if let Some(sentence) = line.strip_prefix('#') {
            doc.push(sentence.trim());
        } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
            doc.clear();
        } else if let Some((key, _)) = line.split_once(" = ") {
            let doc = std::mem::take(&mut doc);
            entries.push(Entry { section, key, doc });
        }
    }
    entries
}

/// The value as an environment variable spells it.
pub(super) fn env_value(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Boolean(flag) => flag.to_string(),
        toml::Value::Array(items) => items.iter().map(env_value).collect::<Vec<_>>().join(","),
        _ => String::new(),
    }
}

pub(super) fn env_example() -> String {
    let defaults: toml::Table = DEFAULTS.parse().unwrap_or_default();
    let mut text = String::from(
        "# Copy this file to `.env` and take the `#` from the lines you change. The environment wins over the file.\n\
         # Values with spaces or `$` go in single quotes. Lists are comma separated. Made from the defaults in\n\
         # shared/kernel/config/default.toml; a test keeps both the same.\n\n\
         # Short names, taken when BULKHEAD__DATABASE__OWNER_URL and BULKHEAD__REDIS__URL are not set.\n\
         # DATABASE_URL=\n\
         # REDIS_URL=\n",
    );
    let mut section = "";
    for entry in entries() {
        if entry.section != section {
            section = entry.section;
            let _ = write!(text, "\n# ---- {section} ----\n");
        }
        let default = defaults.get(section).and_then(|table| table.get(entry.key));
        let default = default.map(env_value).map(quoted).unwrap_or_default();
        let _ = write!(
            text,
            "\n# {}\n# {}={default}\n",
            entry.doc.join("\n# "),
            entry.env_key()
        );
    }
    text
}

/// As a `.env` file wants it, and a shell that reads one.
fn quoted(value: String) -> String {
    if value.contains([' ', '$', '<', '>', '#']) {
        return format!("'{value}'");
    }
    value
}
