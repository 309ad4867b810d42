//! The three sets of connections and what can be had from them.

use std::{sync::Arc, time::Duration};

use bulkhead_kernel::{clock::Clock, config, ids::TenantId, secret::Secret};
use futures_util::TryStreamExt;
use sqlx::{
    AssertSqlSafe, Connection, Either, Executor,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions, PgRow},
};
use tokio::time::{Instant, timeout};

use crate::{
    ControlTx, DbError, Message, OwnerTx, TenantRef, TenantSelector, TenantTx,
    budget::Budget,
    lease::Lease,
    owner::Owners,
    plans::{Phrase, Policy},
    registry::{self, Registry},
    retirement::Terms,
    schema::Logins,
    shards::Shards,
    slots::{Plan, Slots},
    tenant::{Access, Entry, affinity, enter_statement},
};

/// How long work behind the scenes waits for a connection; nobody waits for its answer.
const CONNECT_PATIENCE: Duration = Duration::from_secs(20);

/// The way to all data; cheap to clone. Connections are made when first needed.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    settings: config::Database,
    owner: Owners,
    control: Slots,
    tenant: Shards,
    direct: PgConnectOptions,
    registry: Registry,
    acquire_timeout: Duration,
    statement_ms: u64,
}

impl Db {
    /// Prepares the three sets of connections. Fails only on a URL that is none.
    pub fn new(settings: &config::Database) -> Result<Self, DbError> {
        Self::with_clock(settings, Clock::system())
    }

    /// The same with a clock that decides how old connections are.
    pub fn with_clock(settings: &config::Database, clock: Clock) -> Result<Self, DbError> {
        let options = |url: &Secret| url.expose().parse::<PgConnectOptions>().map_err(DbError::from);
        let terms = Terms::of(settings, clock);
        let plan = |pool, url, size| {
            Ok::<_, DbError>(Plan {
                pool,
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
        Ok(Self(Arc::new(Inner {
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
        })))
    }

    /// A transaction on the shared schema `control`.
    pub async fn control(&self) -> Result<ControlTx, DbError> {
        ControlTx::begin(&self.0.control, self.0.statement_ms).await
    }

    /// A transaction of the provisioner, which may create roles and schemas.
    pub async fn owner(&self) -> Result<OwnerTx, DbError> {
        OwnerTx::begin(&self.0.owner).await
    }

    /// Connections of the owner beside the usual ones.
    pub(crate) fn owners(&self, pool: &'static str, size: usize) -> Owners {
        self.0.owner.another(pool, size, CONNECT_PATIENCE)
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
        match TenantTx::begin(&self.0.tenant.of(known.shard), &known, self.entry(access)).await {
            Err(DbError::StaleEpoch) => {
                let current = self.resolve_anew(tenant).await?;
                TenantTx::begin(&self.0.tenant.of(current.shard), &current, self.entry(access)).await
            }
            result => result,
        }
    }

    /// The connections to `control` and to the tenants of a shard.
    pub(crate) fn slots(&self, shard: i16) -> (&Slots, Arc<Slots>) {
        (&self.0.control, self.0.tenant.of(shard))
    }

    fn entry(&self, access: Access) -> Entry {
        Entry {
            access,
            statement_ms: self.0.statement_ms,
        }
    }

    /// Runs a message inside the tenant, as one implicit transaction and in one round trip. Gives the rows of each of
    /// its statements; refused unless the tenant is active or suspended to read-only.
    pub async fn read(&self, tenant: TenantId, message: &Message) -> Result<Vec<Vec<PgRow>>, DbError> {
        let known = self.resolve(&TenantSelector::Id(tenant)).await?;
        match self.read_in(&known, message).await {
            Err(DbError::StaleEpoch) => {
                let current = self.resolve_anew(tenant).await?;
                self.read_in(&current, message).await
            }
            result => result,
        }
    }

    async fn read_in(&self, tenant: &TenantRef, message: &Message) -> Result<Vec<Vec<PgRow>>, DbError> {
        let enter = enter_statement(tenant, self.entry(Access::Member));
        let slots = self.0.tenant.of(tenant.shard);
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
        if let Some(known) = self.0.registry.get(selector)
            && (matches!(selector, TenantSelector::Id(_)) || self.is_current(&known).await?)
        {
            return Ok(known);
        }
        let mut tx = self.control().await?;
        let found = registry::find(&mut tx, selector).await?;
        tx.commit().await?;
        let tenant = found.ok_or(DbError::TenantNotFound)?;
        self.0.registry.put(&tenant);
        Ok(tenant)
    }

    async fn is_current(&self, tenant: &TenantRef) -> Result<bool, DbError> {
        match self.read_in(tenant, &Message::new().sql("SELECT 1")).await {
            Ok(_) => Ok(true),
            Err(error @ DbError::Unavailable(_)) => Err(error),
            Err(_) => Ok(false),
        }
    }

    pub(crate) async fn resolve_anew(&self, tenant: TenantId) -> Result<TenantRef, DbError> {
        self.0.registry.forget(tenant);
        self.resolve(&TenantSelector::Id(tenant)).await
    }

    /// What this was made from.
    pub(crate) fn settings(&self) -> &config::Database {
        &self.0.settings
    }

    /// The first row of a statement that the tenant login runs by itself, inside of no tenant.
    pub(crate) async fn as_tenant_login(&self, statement: &str) -> Result<PgRow, DbError> {
        let mut lease = self.0.tenant.of(0).acquire(None).await?;
        let message = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
        let row = lease.conn().fetch_one(message).await;
        row.map_err(|error| lease.classify(error))
    }

    /// How long the database takes to answer.
    pub async fn ping(&self) -> Result<Duration, DbError> {
        let started = Instant::now();
        let mut lease = self.0.control.acquire(None).await?;
        let answered = timeout(self.0.acquire_timeout, lease.conn().ping()).await;
        let answered = answered.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        answered.map_err(|error| lease.classify(error))?;
        Ok(started.elapsed())
    }

    /// A listener on a connection of its own, past any pooler. It reconnects by itself while it is asked for more.
    pub async fn listen(&self, channel: &'static str) -> Result<PgListener, DbError> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(self.0.acquire_timeout)
            .connect_lazy_with(self.0.direct.clone());
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
