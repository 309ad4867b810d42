//! The layers laid over each other: one typed value per setting, and where it comes from.

use std::{collections::BTreeMap, fmt::Write as _};

use toml::Value;

use super::{
    mistakes::Mistakes,
    source::{ConfigSource, Layer, Variables},
    template::{self, DEFAULTS, Entry, PREFIX},
};

/// Settings whose value is never shown.
const SECRETS: &[(&str, &str)] = &[
    ("database", "owner_url"),
    ("database", "control_url"),
    ("database", "tenant_url"),
    ("redis", "url"),
    ("mail", "smtp_url"),
    ("auth", "key_encryption_key"),
];

/// Names that platforms set by themselves, taken when the setting has no value of its own.
const SHORT_NAMES: &[(&str, (&str, &str))] = &[
    ("DATABASE_URL", ("database", "owner_url")),
    ("REDIS_URL", ("redis", "url")),
];

/// What the names of the settings of further clusters begin with; their own names come next.
const CLUSTERS: &str = "BULKHEAD__DATABASE__CLUSTERS__";

/// What a further cluster has of its own.
const OF_A_CLUSTER: &[&str] = &[
    "owner_url",
    "control_url",
    "tenant_url",
    "direct_url",
    "cap_tenants",
    "cap_relations",
    "cap_size_mb",
    "cap_connections",
];

/// All settings by section and key.
pub(super) struct Settings {
    entries: Vec<Entry>,
    values: BTreeMap<(&'static str, &'static str), (Value, Layer)>,
    clusters: BTreeMap<String, Cluster>,
}

/// The URLs and caps of a further cluster by their keys.
pub(super) type Cluster = BTreeMap<&'static str, (String, Layer)>;

impl Settings {
    /// Lays the source over the defaults. A value of the wrong type is a mistake and leaves the default.
    pub(super) fn gather(source: ConfigSource, mistakes: &mut Mistakes) -> Self {
        let mut settings = Self::defaults();
        let mut variables = source.variables(mistakes);
        for &(short, (section, key)) in SHORT_NAMES {
            fill(&mut variables, short, &template::env_key(section, key));
        }
        for (name, (text, layer)) in &variables {
            if let Some(rest) = name.strip_prefix(CLUSTERS) {
                settings.set_cluster(name, rest, text, *layer, mistakes);
            } else if name.starts_with(PREFIX) {
                settings.set(name, text, *layer, mistakes);
            }
        }
        settings
    }

    fn defaults() -> Self {
        let table: toml::Table = DEFAULTS.parse().unwrap_or_default();
        let entries = template::entries();
        let values = entries
            .iter()
            .filter_map(|entry| {
                let value = table.get(entry.section)?.get(entry.key)?.clone();
                Some(((entry.section, entry.key), (value, Layer::Default)))
            })
            .collect();
        Self {
            entries,
            values,
            clusters: BTreeMap::new(),
        }
    }

    /// `rest` is the cluster's name, two underscores and the key.
    fn set_cluster(&mut self, name: &str, rest: &str, text: &str, layer: Layer, mistakes: &mut Mistakes) {
        let rest = rest.to_lowercase();
        let (cluster, key) = rest.split_once("__").unwrap_or((&rest, ""));
        let key = OF_A_CLUSTER.iter().find(|known| **known == key);
        let is_name = (1..=30).contains(&cluster.len())
            && cluster.starts_with(|c: char| c.is_ascii_lowercase())
            && cluster
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && cluster != "home";
        match key {
            Some(key) if is_name && !text.trim().is_empty() => {
                let values = self.clusters.entry(cluster.to_owned()).or_default();
                values.insert(key, (text.trim().to_owned(), layer));
            }
            Some(_) if is_name => {}
            Some(_) => mistakes.add(
                name,
                "a cluster's name is up to 30 letters, digits and underscores, and not home",
            ),
            None => mistakes.add(name, format!("a cluster has {}", OF_A_CLUSTER.join(", "))),
        }
    }

    /// The further clusters by name.
    pub(super) const fn clusters(&self) -> &BTreeMap<String, Cluster> {
        &self.clusters
    }

    fn set(&mut self, name: &str, text: &str, layer: Layer, mistakes: &mut Mistakes) {
        let place = self
            .entries
            .iter()
            .find(|entry| entry.env_key() == name)
            .and_then(|entry| self.values.get_mut(&(entry.section, entry.key)));
        let Some((value, from)) = place else {
            return mistakes.add(name, "there is no such setting; .env.example lists all");
        };
        match parse_like(value, text.trim()) {
            Ok(parsed) => {
                *value = parsed;
                *from = layer;
            }
            Err(expected) => mistakes.add(name, expected),
        }
    }

    /// The value in force.
    pub(super) fn get(&self, section: &'static str, key: &'static str) -> Option<&Value> {
        self.values.get(&(section, key)).map(|(value, _)| value)
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// One line per setting, secrets hidden.
    pub(super) fn describe(&self) -> String {
        let mut text = String::new();
        for entry in &self.entries {
            let Some((value, layer)) = self.values.get(&(entry.section, entry.key)) else {
                continue;
            };
            let shown = template::env_value(value);
            let is_hidden = SECRETS.contains(&(entry.section, entry.key)) && !shown.is_empty();
            let shown = if is_hidden { "***" } else { &shown };
            let _ = writeln!(text, "{}={shown}  ({})", entry.env_key(), describe_layer(*layer));
        }
        for (cluster, values) in &self.clusters {
            for (key, (value, layer)) in values {
                let name = format!("{CLUSTERS}{}__{}", cluster.to_uppercase(), key.to_uppercase());
                let shown = if key.ends_with("_url") { "***" } else { value };
                let _ = writeln!(text, "{name}={shown}  ({})", describe_layer(*layer));
            }
        }
        text
    }
}

/// Gives the variable `long` the value of `short` unless it has one.
fn fill(variables: &mut Variables, short: &str, long: &str) {
    let is_set = variables.get(long).is_some_and(|(text, _)| !text.trim().is_empty());
    if let (false, Some(value)) = (is_set, variables.get(short).cloned()) {
        variables.insert(long.to_owned(), value);
    }
}

fn parse_like(like: &Value, text: &str) -> Result<Value, &'static str> {
    match like {
        Value::Integer(_) => text.parse().map(Value::Integer).map_err(|_| "must be a whole number"),
        Value::Boolean(_) => text.parse().map(Value::Boolean).map_err(|_| "must be true or false"),
        Value::Array(_) => Ok(Value::Array(
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(Value::from)
                .collect(),
        )),
        _ => Ok(Value::from(text)),
    }
}

const fn describe_layer(layer: Layer) -> &'static str {
    match layer {
        Layer::Default => "default",
        Layer::DotEnv => ".env",
        Layer::Environment => "environment",
    }
}
