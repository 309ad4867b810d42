//! What is measured of a cluster, beside its caps.

use std::fmt;

use bulkhead_kernel::config;
use bulkhead_tenancy::Cluster;
use chrono::{DateTime, Utc};

/// What a cluster can be full of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cap {
    /// Tenants that live there.
    Tenants,
    /// Rows of `pg_class`.
    Relations,
    /// Mebibytes on disk.
    SizeMb,
    /// Connections to its server.
    Connections,
}

impl Cap {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tenants, Self::Relations, Self::SizeMb, Self::Connections];

    /// The word over the wire and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tenants => "tenants",
            Self::Relations => "relations",
            Self::SizeMb => "size_mb",
            Self::Connections => "connections",
        }
    }

    const fn of(self, caps: &config::Caps) -> i64 {
        match self {
            Self::Tenants => caps.tenants,
            Self::Relations => caps.relations,
            Self::SizeMb => caps.size_mb,
            Self::Connections => caps.connections,
        }
    }
}

/// How much there is of each, in the order of [`Cap::ALL`].
pub(super) type Used = [i64; 4];

/// How far a cap is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Which cap.
    pub cap: Cap,
    /// How much there may be; `None` is no cap.
    pub limit: Option<i64>,
    /// How much there is.
    pub used: i64,
}

impl Level {
    /// What part of the cap is used; nothing where there is none.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people and alarms")]
    pub fn ratio(self) -> Option<f64> {
        self.limit.map(|limit| self.used as f64 / limit as f64)
    }

    /// Whether a new tenant would be one too many: four fifths are used.
    #[must_use]
    pub fn is_reached(self) -> bool {
        self.limit
            .is_some_and(|limit| self.used.saturating_mul(5) >= limit.saturating_mul(4))
    }
}

/// A cluster as it was when it was last measured.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterUse {
    /// Which one.
    pub cluster: Cluster,
    /// When; `None` before the first time.
    pub measured_at: Option<DateTime<Utc>>,
    /// One for each of [`Cap::ALL`].
    pub levels: [Level; 4],
}

impl ClusterUse {
    pub(super) fn new(cluster: Cluster, caps: &config::Caps, measured: Option<(DateTime<Utc>, Used)>) -> Self {
        let used = measured.map_or([0; 4], |(_, used)| used);
        let level = |cap: Cap, used| Level {
            cap,
            limit: Some(cap.of(caps)).filter(|limit| *limit > 0),
            used,
        };
        let [tenants, relations, size, connections] = Cap::ALL;
        Self {
            cluster,
            measured_at: measured.map(|(at, _)| at),
            levels: [
                level(tenants, used[0]),
                level(relations, used[1]),
                level(size, used[2]),
                level(connections, used[3]),
            ],
        }
    }

    /// What stands against one more tenant.
    #[must_use]
    pub fn full(&self) -> Option<Full> {
        let level = self.levels.into_iter().find(|level| level.is_reached())?;
        Some(Full {
            cluster: self.cluster.clone(),
            level,
        })
    }

    /// What part of the cap that is nearest to its end is used.
    fn fullest(&self) -> f64 {
        let ratios = self.levels.iter().filter_map(|level| level.ratio());
        ratios.fold(0.0, f64::max)
    }
}

/// Where a new tenant goes: where it is wanted, else to the cluster that is the least full. None has room: what the wanted
/// one is full of.
pub(super) fn choose(known: Vec<ClusterUse>, wanted: Cluster) -> Result<Cluster, Full> {
    let full = known.iter().find(|known| known.cluster == wanted);
    let Some(full) = full.and_then(ClusterUse::full) else {
        return Ok(wanted);
    };
    let open = known.into_iter().filter(|known| known.full().is_none());
    let emptiest = open.min_by(|a, b| a.fullest().total_cmp(&b.fullest()));
    emptiest.map(|known| known.cluster).ok_or(full)
}

/// A cluster that takes no new tenants, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Full {
    /// Which one.
    pub cluster: Cluster,
    /// The cap that is reached.
    pub level: Level,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, level } = self;
        let (used, cap) = (level.used, level.cap.as_str());
        let limit = level.limit.unwrap_or_default();
        let of = if cluster.is_home() {
            String::new()
        } else {
            format!("CLUSTERS__{}__", cluster.as_str().to_uppercase())
        };
        write!(
            f,
            "The cluster {cluster} takes no new tenants: {used} of {limit} {cap} are used, and it takes them below 80 %. A \
             higher BULKHEAD__DATABASE__{of}CAP_{} or another cluster makes room.",
            cap.to_uppercase()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(name: &str, caps: [i64; 4], used: Used) -> ClusterUse {
        let [tenants, relations, size_mb, connections] = caps;
        let caps = config::Caps {
            tenants,
            relations,
            size_mb,
            connections,
        };
        ClusterUse::new(Cluster::from(name), &caps, Some((DateTime::default(), used)))
    }

    #[test]
    fn each_cap_is_reached_at_four_fifths_and_none_without_a_cap() {
        for (at, cap) in Cap::ALL.into_iter().enumerate() {
            let mut used = [0; 4];
            used[at] = 7;
            assert_eq!(cluster("home", [10; 4], used).full(), None, "{cap:?}");
            used[at] = 8;
            assert_eq!(cluster("home", [10; 4], used).full().unwrap().level.cap, cap);
            assert_eq!(cluster("home", [0; 4], used).full(), None, "no cap");
        }
        assert_eq!(cluster("home", [1; 4], [0; 4]).full(), None);
        assert!(cluster("home", [1, 0, 0, 0], [i64::MAX; 4]).full().is_some());
    }

    #[test]
    fn a_tenant_goes_where_it_is_wanted_or_where_the_fullest_cap_is_the_least_used() {
        let home = |used| cluster("home", [10; 4], [used; 4]);
        let b = cluster("b", [10, 100, 0, 20], [2, 70, 900, 5]);
        let c = cluster("c", [10; 4], [6, 6, 6, 6]);
        let choose = |known: &[&ClusterUse], wanted: &str| {
            let chosen = choose(known.iter().copied().cloned().collect(), Cluster::from(wanted));
            chosen.map_err(|full| full.cluster.to_string())
        };
        assert_eq!(choose(&[&home(7), &b, &c], "home"), Ok(Cluster::home()));
        assert_eq!(choose(&[&home(8), &b, &c], "home"), Ok(Cluster::from("c")));
        assert_eq!(choose(&[&home(1), &b, &c], "b"), Ok(Cluster::from("b")));
        assert_eq!(choose(&[&home(8), &home(9)], "home"), Err("home".into()));
    }

    #[test]
    fn a_refusal_names_the_cap_the_use_and_the_setting_that_raises_it() {
        let full = cluster("b", [0, 100, 0, 0], [9, 85, 9, 9]).full().unwrap().to_string();
        for part in [
            "cluster b",
            "85 of 100 relations",
            "80 %",
            "BULKHEAD__DATABASE__CLUSTERS__B__CAP_RELATIONS",
        ] {
            assert!(full.contains(part), "{part}: {full}");
        }
        let full = cluster("home", [10, 0, 0, 0], [8; 4]).full().unwrap().to_string();
        assert!(full.contains("BULKHEAD__DATABASE__CAP_TENANTS"), "{full}");
    }
}
