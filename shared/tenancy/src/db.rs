//! What can be had from the connections of a cluster, and which cluster is asked.

use std::{sync::Arc, time::Duration};

use bulkhead_kernel::{clock::Clock, config, ids::TenantId};
use futures_util::TryStreamExt;
use sqlx::{
    AssertSqlSafe, Connection, Either, Executor,
    postgres::{PgListener, PgPoolOptions, PgRow},
};
use tokio::time::{Instant, timeout};

use crate::{
    Cluster, ControlTx, DbError, DbMeter, Message, OwnerTx, TenantRef, TenantSelector, TenantTx,
    cluster::{Site, Sites},
    lease::Lease,
    owner::Owners,
    plans::Phrase,
    registry,
    slots::Slots,
    tenant::{Access, Entry, affinity, enter_statement},
};

/// How long work behind the scenes waits for a connection; nobody waits for its answer.
const CONNECT_PATIENCE: Duration = Duration::from_secs(20);

/// The way to all data, as seen from one cluster: its schema `control` and its tenants. From home all tenants are reached,
/// wherever they live. Cheap to clone. Connections are made when first needed.
#[derive(Clone)]
pub struct Db {
    sites: Arc<Sites>,
    here: Arc<Site>,
}

impl Db {
    /// Prepares the three sets of connections of each cluster, and is at home. Fails only on a URL that is none.
    pub fn new(settings: &config::Database) -> Result<Self, DbError> {
        Self::with_clock(settings, Clock::system())
    }

    /// The same with a clock that decides how old connections are.
    pub fn with_clock(settings: &config::Database, clock: Clock) -> Result<Self, DbError> {
        let sites = Arc::new(Sites::new(settings, clock)?);
        let here = Arc::clone(&sites.home);
        Ok(Self { sites, here })
    }

    fn standing(&self, here: &Arc<Site>) -> Self {
        Self {
            sites: Arc::clone(&self.sites),
            here: Arc::clone(here),
        }
    }

    /// Where this is.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.here.cluster
    }

    /// At home: people, sessions, the registry of all tenants.
    #[must_use]
    pub fn home(&self) -> Self {
        self.standing(&self.sites.home)
    }

    /// In the cluster of this name; [`DbError::ClusterUnknown`] where the settings of this process lack it.
    pub fn at(&self, cluster: &Cluster) -> Result<Self, DbError> {
        self.site(Some(cluster).filter(|cluster| **cluster != self.here.cluster))
            .map(|site| self.standing(site))
    }

    /// All clusters, home first.
    pub fn clusters(&self) -> impl Iterator<Item = Self> + '_ {
        [&self.sites.home]
            .into_iter()
            .chain(self.sites.others.values())
            .map(|site| self.standing(site))
    }

    /// Whether there is any cluster but home.
    #[must_use]
    pub fn has_clusters(&self) -> bool {
        !self.sites.others.is_empty()
    }

    /// Where new tenants are placed; `None` is home.
    #[must_use]
    pub fn new_tenants_cluster(&self) -> Option<Cluster> {
        let chosen = self.sites.home.settings.new_tenants_cluster.as_deref();
        chosen.map(Cluster::from)
    }

    /// How much may be used here.
    #[must_use]
    pub fn caps(&self) -> config::Caps {
        self.here.settings.caps
    }

    /// The cluster in which the tenant lives in this moment, as far as it is known here.
    pub async fn of(&self, tenant: TenantId) -> Result<Self, DbError> {
        let placed = self.resolve_anew(tenant).await?;
        self.site(placed.cluster.as_ref()).map(|site| self.standing(site))
    }

    /// The connections to a tenant that was looked up here.
    fn site(&self, cluster: Option<&Cluster>) -> Result<&Arc<Site>, DbError> {
        match cluster {
            None => Ok(&self.here),
            Some(name) if name.is_home() => Ok(&self.sites.home),
            Some(name) => self.sites.others.get(name).ok_or(DbError::ClusterUnknown),
        }
    }

    /// A transaction on the shared schema `control`. While home does not answer and there are clusters that do, one call in
    /// a second tries, and the others are refused without waiting.
    pub async fn control(&self) -> Result<ControlTx, DbError> {
        let entering = ControlTx::begin(&self.here.control, self.here.statement_ms);
        if !self.here.cluster.is_home() || !self.has_clusters() {
            return entering.await;
        }
        let now = std::time::Instant::now();
        if !self.sites.contact.may_call(now) {
            return Err(DbError::Unavailable(None));
        }
        let begun = entering.await;
        self.sites.contact.note(now, &begun);
        begun
    }

    /// Whether home does not answer, as far as this process has noticed. Always no where there are no further clusters.
    #[must_use]
    pub fn is_home_lost(&self) -> bool {
        self.sites.contact.lost_for(std::time::Instant::now()).is_some()
    }

    /// Whether home does not answer, and has not for so short a time that its tenants elsewhere are served meanwhile.
    #[must_use]
    pub fn serves_without_home(&self) -> bool {
        let lost = self.sites.contact.lost_for(std::time::Instant::now());
        lost.is_some_and(|lost| lost < self.longest_without_home())
    }

    /// For how long known tenants of other clusters are served after home has last answered.
    #[must_use]
    pub fn longest_without_home(&self) -> Duration {
        self.here.settings.serve_without_home
    }

    /// A transaction of the provisioner, which may create roles and schemas.
    pub async fn owner(&self) -> Result<OwnerTx, DbError> {
        OwnerTx::begin(&self.here.owner).await
    }

    /// The connections of the provisioner here.
    pub(crate) fn owner_slots(&self) -> &Owners {
        &self.here.owner
    }

    /// Connections of the owner beside the usual ones.
    pub(crate) fn owners(&self, pool: &'static str, size: usize) -> Owners {
        self.here.owner.another(pool, size, CONNECT_PATIENCE)
    }

    /// A transaction inside the tenant; refused unless the tenant is active, and read-only where it is suspended so.
    pub async fn tenant(&self, tenant: TenantId) -> Result<TenantTx, DbError> {
        self.enter(tenant, Access::Member).await
    }

    /// A transaction inside the tenant for the platform's own work, which goes on while the tenant is suspended or on its
    /// way out. Nothing that a member asks for may use it.
    pub async fn tenant_for_platform(&self, tenant: TenantId) -> Result<TenantTx, DbError> {
        self.enter(tenant, Access::Platform).await
    }

    async fn enter(&self, tenant: TenantId, access: Access) -> Result<TenantTx, DbError> {
        let known = self.resolve(&TenantSelector::Id(tenant)).await?;
        match self.begin(&known, access).await {
            Err(error) if known.has_left(&error) => {
                let current = self.resolve_anew(tenant).await?;
                self.begin(&current, access).await
            }
            result => result,
        }
    }

    async fn begin(&self, tenant: &TenantRef, access: Access) -> Result<TenantTx, DbError> {
        let slots = self.tenant_slots(tenant)?;
        let is_at_home = self.here.cluster.is_home() && tenant.cluster.is_none();
        let entered = TenantTx::begin(&slots, tenant, self.entry(access)).await?;
        Ok(entered.at_home(is_at_home))
    }

    /// The connections to `control` here.
    pub(crate) fn control_slots(&self) -> &Slots {
        &self.here.control
    }

    /// The connections to a tenant, wherever it lives.
    pub(crate) fn tenant_slots(&self, tenant: &TenantRef) -> Result<Arc<Slots>, DbError> {
        Ok(self.site(tenant.cluster.as_ref())?.tenant.of(tenant.shard))
    }

    fn entry(&self, access: Access) -> Entry {
        Entry {
            access,
            statement_ms: self.here.statement_ms,
        }
    }

    /// Runs a message inside the tenant, as one implicit transaction and in one round trip. Gives the rows of each of
    /// its statements; refused unless the tenant is active or suspended to read-only.
    pub async fn read(&self, tenant: TenantId, message: &Message) -> Result<Vec<Vec<PgRow>>, DbError> {
        let known = self.resolve(&TenantSelector::Id(tenant)).await?;
        match self.read_in(&known, message).await {
            Err(error) if known.has_left(&error) => {
                let current = self.resolve_anew(tenant).await?;
                self.read_in(&current, message).await
            }
            result => result,
        }
    }

    async fn read_in(&self, tenant: &TenantRef, message: &Message) -> Result<Vec<Vec<PgRow>>, DbError> {
        let enter = enter_statement(tenant, self.entry(Access::Member));
        let slots = self.tenant_slots(tenant)?;
        if tenant.is_frozen {
            DbMeter::meet_frozen();
        }
        loop {
            let mut lease = slots.acquire(Some(affinity(tenant.id))).await?;
            let phrase = lease.phrase(tenant.id, &enter, message);
            let is_planned = phrase.is_planned;
            match fetch(&mut lease, phrase).await {
                Err(_) if lease.is_worth_another_try() || (is_planned && lease.gives_up_plans()) => {}
                result => return result,
            }
        }
    }

    /// The tenant of this id or slug, from memory where it is fresh. Its state is checked when it is entered. A slug may
    /// have moved to another tenant since, so what memory says of one is believed only after the database has let us in
    /// under the epoch that goes with it: a rename raises the epoch.
    pub async fn resolve(&self, selector: &TenantSelector) -> Result<TenantRef, DbError> {
        if let Some(known) = self.here.registry.get(selector)
            && (matches!(selector, TenantSelector::Id(_)) || self.is_current(&known).await?)
        {
            return Ok(known);
        }
        match self.look_up(selector).await {
            Err(error @ DbError::Unavailable(_)) => self.recall(selector).await?.ok_or(error),
            found => found,
        }
    }

    async fn look_up(&self, selector: &TenantSelector) -> Result<TenantRef, DbError> {
        let mut tx = self.control().await?;
        let found = registry::find(&mut tx, selector).await?;
        tx.commit().await?;
        let tenant = found.ok_or(DbError::TenantNotFound)?;
        self.here.registry.put(&tenant);
        Ok(tenant)
    }

    /// What is remembered of a tenant of another cluster while home is away; the cluster checks it when it is entered.
    async fn recall(&self, selector: &TenantSelector) -> Result<Option<TenantRef>, DbError> {
        if !self.here.cluster.is_home() || !self.serves_without_home() {
            return Ok(None);
        }
        let known = self.here.registry.recall(selector);
        match known.filter(|known| known.cluster.is_some()) {
            Some(known) if matches!(selector, TenantSelector::Id(_)) || self.is_current(&known).await? => {
                Ok(Some(known))
            }
            _ => Ok(None),
        }
    }

    async fn is_current(&self, tenant: &TenantRef) -> Result<bool, DbError> {
        match self.read_in(tenant, &Message::new().sql("SELECT 1")).await {
            Ok(_) => Ok(true),
            Err(error @ DbError::Unavailable(_)) => Err(error),
            Err(_) => Ok(false),
        }
    }

    pub(crate) async fn resolve_anew(&self, tenant: TenantId) -> Result<TenantRef, DbError> {
        let found = self.look_up(&TenantSelector::Id(tenant)).await;
        if matches!(found, Err(DbError::TenantNotFound)) {
            self.here.registry.forget(tenant);
        }
        found
    }

    /// What this was made from.
    pub(crate) fn settings(&self) -> &config::Database {
        &self.here.settings
    }

    /// The first row of a statement that the tenant login runs by itself, inside of no tenant.
    pub(crate) async fn as_tenant_login(&self, statement: &str) -> Result<PgRow, DbError> {
        let mut lease = self.here.tenant.of(0).acquire(None).await?;
        let message = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
        let row = lease.conn().fetch_one(message).await;
        row.map_err(|error| lease.classify(error))
    }

    /// How long the database takes to answer.
    pub async fn ping(&self) -> Result<Duration, DbError> {
        let started = Instant::now();
        let mut lease = self.here.control.acquire(None).await?;
        let answered = timeout(self.here.acquire_timeout, lease.conn().ping()).await;
        let answered = answered.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        answered.map_err(|error| lease.classify(error))?;
        Ok(started.elapsed())
    }

    /// A listener on a connection of its own, past any pooler. It reconnects by itself while it is asked for more.
    pub async fn listen(&self, channel: &'static str) -> Result<PgListener, DbError> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(self.here.acquire_timeout)
            .connect_lazy_with(self.here.direct.clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(channel).await?;
        Ok(listener)
    }
}

/// Sends the phrase and sorts its rows by statement, leaving out those of the statements before the message.
async fn fetch(lease: &mut Lease, phrase: Phrase) -> Result<Vec<Vec<PgRow>>, DbError> {
    let collected = async {
        let mut results = vec![Vec::new()];
        let mut stream = lease.conn().fetch_many(sqlx::raw_sql(AssertSqlSafe(phrase.sql)));
        while let Some(item) = stream.try_next().await? {
            match (item, results.last_mut()) {
                (Either::Right(row), Some(rows)) => rows.push(row),
                _ => results.push(Vec::new()),
            }
        }
        Ok::<_, sqlx::Error>(results)
    };
    let collected = collected.await;
    let mut results = collected.map_err(|error| lease.classify(error))?;
    lease.settle();
    results.pop();
    Ok(results.split_off(phrase.n_before))
}
