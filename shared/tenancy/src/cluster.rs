//! Clusters: complete databases of Bulkhead, each with its own connections. One of them is home.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bulkhead_kernel::{clock::Clock, config, secret::Secret};
use sqlx::postgres::PgConnectOptions;

use crate::{
    DbError,
    budget::Budget,
    contact::Contact,
    owner::Owners,
    plans::Policy,
    registry::Registry,
    retirement::Terms,
    schema::Logins,
    shards::Shards,
    slots::{Plan, Slots},
};

/// The name of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cluster(Arc<str>);

impl Cluster {
    const HOME: &str = "home";

    /// The one that knows all tenants, and everything that is nobody's.
    #[must_use]
    pub fn home() -> Self {
        Self(Self::HOME.into())
    }

    /// Whether it is that one.
    #[must_use]
    pub fn is_home(&self) -> bool {
        &*self.0 == Self::HOME
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Cluster {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One database and the three sets of connections to it. Connections are made when first needed.
pub(crate) struct Site {
    pub(crate) cluster: Cluster,
    pub(crate) settings: config::Database,
    pub(crate) owner: Owners,
    pub(crate) control: Slots,
    pub(crate) tenant: Shards,
    pub(crate) direct: PgConnectOptions,
    pub(crate) registry: Registry,
    pub(crate) acquire_timeout: Duration,
    pub(crate) statement_ms: u64,
}

impl Site {
    fn new(cluster: Cluster, settings: &config::Database, clock: Clock) -> Result<Self, DbError> {
        let options = |url: &Secret| url.expose().parse::<PgConnectOptions>().map_err(DbError::from);
        let terms = Terms::of(settings, clock);
        let plan = |pool, url, size| {
            Ok::<_, DbError>(Plan {
                pool: pool_name(pool, &cluster),
                shard: 0,
                options: options(url)?,
                statement_cache: settings.statement_cache,
                size,
                acquire_timeout: settings.acquire_timeout,
                is_affine: settings.affinity,
                policy: Arc::new(Policy::new(settings.plans_per_connection())),
                terms: terms.clone(),
                budget: Arc::new(Budget::new(size)),
            })
        };
        let slots = |plan| Slots::new(plan, Vec::new());
        Ok(Self {
            settings: settings.clone(),
            owner: Owners {
                slots: slots(plan("owner", &settings.owner_url, settings.owner_connections)?),
                logins: Arc::new(Logins::of(settings)),
            },
            control: slots(plan("control", &settings.control_url, settings.control_connections)?),
            tenant: Shards::new(plan("tenant", &settings.tenant_url, settings.tenant_connections)?),
            direct: options(settings.direct_url.as_ref().unwrap_or(&settings.control_url))?,
            registry: Registry::default(),
            acquire_timeout: settings.acquire_timeout,
            statement_ms: u64::try_from(settings.statement_timeout.as_millis()).unwrap_or(5_000),
            cluster,
        })
    }
}

/// A pool is a label of metrics, which live as long as the process; there are as many as there are settings.
fn pool_name(pool: &'static str, cluster: &Cluster) -> &'static str {
    if cluster.is_home() {
        pool
    } else {
        Box::leak(format!("{pool}@{cluster}").into_boxed_str())
    }
}

/// All clusters of the settings.
pub(crate) struct Sites {
    pub(crate) home: Arc<Site>,
    pub(crate) others: BTreeMap<Cluster, Arc<Site>>,
    /// Whether home answers.
    pub(crate) contact: Contact,
}

impl Sites {
    pub(crate) fn new(settings: &config::Database, clock: Clock) -> Result<Self, DbError> {
        let others = settings.clusters.iter().map(|(name, settings)| {
            let cluster = Cluster::from(name.as_str());
            let site = Site::new(cluster.clone(), settings, clock.clone())?;
            Ok((cluster, Arc::new(site)))
        });
        Ok(Self {
            others: others.collect::<Result<_, DbError>>()?,
            home: Arc::new(Site::new(Cluster::home(), settings, clock)?),
            contact: Contact::new(Instant::now()),
        })
    }
}
