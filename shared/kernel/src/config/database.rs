//! `[database]` and `[redis]`: what the processes keep their state in.

use std::{collections::BTreeMap, time::Duration};

use super::reader::SectionReader;
use crate::secret::Secret;

const POSTGRES: &[&str] = &["postgres", "postgresql"];
const REDIS: &[&str] = &["redis", "rediss", "redis+unix", "unix"];

/// One PostgreSQL database as three roles, each with its own bounded set of connections.
#[derive(Clone)]
pub struct Database {
    /// As the role that owns the schemas.
    pub owner_url: Secret,
    /// As the role of the control schema.
    pub control_url: Secret,
    /// As the role that may enter tenants.
    pub tenant_url: Secret,
    /// As the control role and past any pooler, to listen; `control_url` where this is not set.
    pub direct_url: Option<Secret>,
    /// Prepared statements that a connection keeps; 0 keeps none from one transaction to the next.
    pub statement_cache: usize,
    /// Reads that a tenant connection keeps planned; see [`Self::plans_per_connection`].
    pub kept_plans: usize,
    /// The most connections as the owner.
    pub owner_connections: usize,
    /// The most connections as the control role.
    pub control_connections: usize,
    /// The most connections as the tenant logins, over all shards.
    pub tenant_connections: usize,
    /// The most tenants of one shard.
    pub tenants_per_shard: i32,
    /// Mebibytes for the server processes of all tenant connections.
    pub memory_limit_mb: u64,
    /// The most tenants that one connection may meet; zero takes what the memory allows.
    pub tenants_per_connection: usize,
    /// How old a connection may become.
    pub connection_max_age: Duration,
    /// Whether a tenant keeps to the connections that know it.
    pub affinity: bool,
    /// For a free connection.
    pub acquire_timeout: Duration,
    /// For one statement.
    pub statement_timeout: Duration,
    /// How much of it may be used.
    pub caps: Caps,
    /// Where new tenants are placed; none is this database.
    pub new_tenants_cluster: Option<String>,
    /// How long known tenants of other clusters are served after this one, home, has last answered; zero is not at all.
    pub serve_without_home: Duration,
    /// Further databases by name, each with URLs of its own and everything else as here. They have no clusters themselves.
    pub clusters: BTreeMap<String, Self>,
}

/// How much of a cluster may be used; zero is no cap. New tenants are taken as long as less than four fifths of each is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Tenants that live there.
    pub tenants: i64,
    /// Tables, indexes and all else that has a row in `pg_class`.
    pub relations: i64,
    /// Mebibytes on disk.
    pub size_mb: i64,
    /// Connections to its server, whoever has them.
    pub connections: i64,
}

/// What the database of these settings is called among the clusters.
const HOME: &str = "home";

impl Database {
    /// Reads that a tenant connection keeps planned: none where prepared statements get lost on the way.
    #[must_use]
    pub const fn plans_per_connection(&self) -> usize {
        if self.statement_cache == 0 { 0 } else { self.kept_plans }
    }

    pub(super) fn read(section: &mut SectionReader<'_, '_>) -> Self {
        let mut home = Self::read_home(section);
        for (name, mut urls) in section.clusters(POSTGRES) {
            let mut url = |key: &'static str| {
                urls.remove(key).unwrap_or_else(|| {
                    section.require(&format!("clusters__{name}__{key}"), "is required of each cluster");
                    Secret::new("")
                })
            };
            let cluster = Self {
                owner_url: url("owner_url"),
                control_url: url("control_url"),
                tenant_url: url("tenant_url"),
                direct_url: urls.remove("direct_url"),
                caps: home.caps.with(section, &name),
                new_tenants_cluster: None,
                clusters: BTreeMap::new(),
                ..home.clone()
            };
            home.clusters.insert(name, cluster);
        }
        let chosen = section.some_text("new_tenants_cluster");
        if chosen != HOME && !home.clusters.contains_key(&chosen) {
            section.refuse(
                "new_tenants_cluster",
                "must be home or the name of a cluster that is set",
            );
        }
        home.new_tenants_cluster = Some(chosen).filter(|chosen| chosen != HOME);
        home
    }

    fn read_home(section: &mut SectionReader<'_, '_>) -> Self {
        Self {
            new_tenants_cluster: None,
            clusters: BTreeMap::new(),
            caps: Caps::read(section),
            owner_url: section.required_secret_url("owner_url", POSTGRES),
            control_url: section.required_secret_url("control_url", POSTGRES),
            tenant_url: section.required_secret_url("tenant_url", POSTGRES),
            direct_url: section.secret_url("direct_url", POSTGRES),
            statement_cache: section.number("statement_cache", 0..=10_000),
            kept_plans: section.number("kept_plans", 0..=10_000),
            owner_connections: section.number("owner_connections", 1..=100),
            control_connections: section.number("control_connections", 1..=1000),
            tenant_connections: section.number("tenant_connections", 1..=1000),
            tenants_per_shard: section.number("tenants_per_shard", 1..=100_000),
            memory_limit_mb: section.number("memory_limit_mb", 1..=1_048_576),
            tenants_per_connection: section.number("tenants_per_connection", 0..=1_000_000),
            connection_max_age: section.secs("connection_max_age_secs", 1..=604_800),
            affinity: section.flag("affinity"),
            serve_without_home: section.secs("serve_without_home_secs", 0..=86_400),
            acquire_timeout: section.millis("acquire_timeout_ms", 1..=60_000),
            statement_timeout: section.millis("statement_timeout_ms", 1..=3_600_000),
        }
    }
}

/// The largest cap of each kind, in the order of [`Caps`].
const MOST: [(&str, i64); 4] = [
    ("cap_tenants", 10_000_000),
    ("cap_relations", 1_000_000_000),
    ("cap_size_mb", 1_000_000_000),
    ("cap_connections", 1_000_000),
];

impl Caps {
    fn read(section: &mut SectionReader<'_, '_>) -> Self {
        let [tenants, relations, size_mb, connections] = MOST.map(|(key, most)| section.number(key, 0..=most));
        Self {
            tenants,
            relations,
            size_mb,
            connections,
        }
    }

    /// Those of a further cluster: what it has of its own, and these.
    fn with(self, section: &mut SectionReader<'_, '_>, cluster: &str) -> Self {
        let own = MOST.map(|(key, most)| section.number_of_cluster(cluster, key, 0..=most));
        Self {
            tenants: own[0].unwrap_or(self.tenants),
            relations: own[1].unwrap_or(self.relations),
            size_mb: own[2].unwrap_or(self.size_mb),
            connections: own[3].unwrap_or(self.connections),
        }
    }
}

/// Redis or Valkey.
#[derive(Clone)]
pub struct Redis {
    /// None means to do without.
    pub url: Option<Secret>,
    /// For one answer.
    pub timeout: Duration,
    /// What the name of every key begins with.
    pub key_prefix: String,
}

impl Redis {
    pub(super) fn read(section: &mut SectionReader<'_, '_>) -> Self {
        let key_prefix = section.some_text("key_prefix");
        if key_prefix.contains(['{', '}']) {
            section.refuse(
                "key_prefix",
                "must not contain braces: Redis Cluster would place keys by it",
            );
        }
        Self {
            url: section.secret_url("url", REDIS),
            timeout: section.millis("timeout_ms", 1..=60_000),
            key_prefix,
        }
    }
}
