//! A bounded set of connections that never hands on an open transaction.
//!
//! Callers with the same key wait a moment for the same connection, so that a server process loads the catalog of few
//! tenants and finds it in its caches; when that one stays busy any free one serves. A lease is marked before the first
//! message of a transaction leaves.
//! Whatever becomes of the future that opened it, a marked connection is rolled back and reset before anybody else gets
//! it: by the commit, or by a task of its own when the lease is dropped. So a client that hangs up poisons nothing.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bulkhead_kernel::telemetry::metrics as telemetry;
use metrics::{Gauge, Histogram};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, PgConnection, postgres::PgConnectOptions};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{DbError, DbMeter};

/// Leaves nothing of a transaction behind: settings, role, locks, subscriptions. `DISCARD ALL` would also drop the
/// prepared statements that the client believes in. It goes in one message with the end of the transaction, because
/// behind a transaction pooler the next message may reach another server process.
const RESET: &str = "RESET ALL; RESET ROLE; SELECT pg_advisory_unlock_all(); UNLISTEN *";

/// The same where no statement is kept. sqlx then still names each one anew and never closes it, and behind a pooler
/// the next client on this server process would trip over the name.
const RESET_AND_FORGET: &str = "RESET ALL; RESET ROLE; SELECT pg_advisory_unlock_all(); UNLISTEN *; DEALLOCATE ALL";

/// How long a rollback may take before the connection is thrown away instead.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a caller waits for the connection that knows its tenant before it takes any. A few requests pass in that
/// time; behind a long transaction nobody waits for longer.
const PATIENCE: Duration = Duration::from_millis(20);

/// What a place in the set holds.
enum Slot {
    Empty,
    Idle(PgConnection),
    Leased,
}

/// A bounded set of connections of one login.
pub(crate) struct Slots {
    in_use: Gauge,
    waiters: Gauge,
    acquire_secs: Histogram,
    options: PgConnectOptions,
    reset: &'static str,
    places: Arc<[Mutex<Slot>]>,
    /// One permit for each place: who holds it finds the place free, unless somebody impatient has taken it.
    lanes: Box<[Arc<Semaphore>]>,
    permits: Arc<Semaphore>,
    acquire_timeout: Duration,
}

impl Slots {
    /// `cached` is how many prepared statements each connection keeps.
    pub(crate) fn new(
        pool: &'static str,
        options: PgConnectOptions,
        cached: usize,
        size: usize,
        acquire_timeout: Duration,
    ) -> Self {
        let options = options.application_name("bulkhead").disable_statement_logging();
        Self {
            in_use: telemetry::db_pool_in_use(pool),
            waiters: telemetry::db_pool_waiters(pool),
            acquire_secs: telemetry::db_acquire(pool),
            options: options.statement_cache_capacity(cached),
            reset: if cached == 0 { RESET_AND_FORGET } else { RESET },
            places: (0..size).map(|_| Mutex::new(Slot::Empty)).collect(),
            lanes: (0..size).map(|_| Arc::new(Semaphore::new(1))).collect(),
            permits: Arc::new(Semaphore::new(size)),
            acquire_timeout,
        }
    }

    /// A connection, by preference the one that `key` used before. Fails when none is free, or none can be made, within
    /// the acquire timeout.
    pub(crate) async fn acquire(&self, key: Option<u64>) -> Result<Lease, DbError> {
        let asked = Instant::now();
        let acquired = timeout(self.acquire_timeout, async {
            let first = self.place_of(key);
            let lane = self.lane(first).await;
            let permit = self.permit().await?;
            let (berth, parked) = self.free_slot(first.unwrap_or(0), (permit, lane)).await;
            let is_fresh = parked.is_none();
            let connection = match parked {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            Ok(Lease {
                connection: Some(connection),
                berth: Some(berth),
                is_marked: false,
                is_broken: false,
                is_fresh,
                reset: self.reset,
                meter: DbMeter::current(),
                since: Instant::now(),
            })
        });
        let acquired = acquired.await.unwrap_or(Err(DbError::Unavailable(None)));
        self.acquire_secs.record(asked.elapsed());
        acquired
    }

    fn place_of(&self, key: Option<u64>) -> Option<usize> {
        key.and_then(|key| usize::try_from(key % self.places.len() as u64).ok())
    }

    async fn lane(&self, place: Option<usize>) -> Option<OwnedSemaphorePermit> {
        let lane = &self.lanes[place?];
        if let Ok(permit) = Arc::clone(lane).try_acquire_owned() {
            return Some(permit);
        }
        let _waiting = Counted::one(self.waiters.clone());
        timeout(PATIENCE, Arc::clone(lane).acquire_owned()).await.ok()?.ok()
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, DbError> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        let _waiting = Counted::one(self.waiters.clone());
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        permit.map_err(|_| DbError::Unavailable(None))
    }

    /// A connection on which `message`, beginning with `BEGIN`, has opened a transaction.
    pub(crate) async fn begin(&self, key: Option<u64>, message: &str) -> Result<Lease, DbError> {
        loop {
            let mut lease = self.acquire(key).await?;
            lease.is_marked = true;
            match lease.run(message.to_owned()).await {
                Err(_) if lease.is_worth_another_try() => {}
                result => return result.map(|()| lease),
            }
        }
    }

    /// While no connection can be made the reason is ours, never taken for a mistake of the caller.
    async fn connect(&self) -> Result<PgConnection, DbError> {
        let connected = self.options.connect().await;
        connected.map_err(|error| DbError::Unavailable(Some(error)))
    }

    /// A permit is held, so one slot is free; should it move under our eyes, we look again.
    async fn free_slot(&self, first: usize, permits: Permits) -> (Berth, Option<PgConnection>) {
        let count = self.places.len();
        loop {
            for index in (first..count).chain(0..first) {
                let mut slot = lock(&self.places[index]);
                let parked = match mem::replace(&mut *slot, Slot::Leased) {
                    Slot::Leased => continue,
                    Slot::Idle(connection) => Some(connection),
                    Slot::Empty => None,
                };
                drop(slot);
                let berth = Berth {
                    places: Arc::clone(&self.places),
                    index,
                    _in_use: Counted::one(self.in_use.clone()),
                    _permits: permits,
                };
                return (berth, parked);
            }
            tokio::task::yield_now().await;
        }
    }
}

fn lock(slot: &Mutex<Slot>) -> std::sync::MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One on a gauge for as long as it lives.
struct Counted(Gauge);

impl Counted {
    fn one(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// One of the set, and the lane where there is one.
type Permits = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

/// The place a leased connection goes back to; left empty when it does not come back.
struct Berth {
    places: Arc<[Mutex<Slot>]>,
    index: usize,
    _in_use: Counted,
    _permits: Permits,
}

impl Berth {
    fn park(self, connection: PgConnection) {
        *lock(&self.places[self.index]) = Slot::Idle(connection);
    }
}

impl Drop for Berth {
    fn drop(&mut self) {
        let mut slot = lock(&self.places[self.index]);
        if matches!(*slot, Slot::Leased) {
            *slot = Slot::Empty;
        }
    }
}

/// A connection held by one caller.
pub(crate) struct Lease {
    connection: Option<PgConnection>,
    berth: Option<Berth>,
    /// Whether an explicit transaction may be open on it.
    is_marked: bool,
    /// Whether nothing more can be said to the server on it.
    is_broken: bool,
    is_fresh: bool,
    reset: &'static str,
    meter: Option<DbMeter>,
    since: Instant,
}

impl Lease {
    /// Whether the failure may only mean that the connection had died of age while it lay idle.
    pub(crate) const fn is_worth_another_try(&self) -> bool {
        self.is_broken && !self.is_fresh
    }

    /// Commits and resets in one message. `SET CONSTRAINTS` fails in a transaction that an earlier error has spoilt,
    /// where a bare `COMMIT` would quietly roll back.
    pub(crate) async fn commit(mut self) -> Result<(), DbError> {
        let reset = self.reset;
        self.run(format!("SET CONSTRAINTS ALL IMMEDIATE; COMMIT; {reset}"))
            .await?;
        self.is_marked = false;
        Ok(())
    }

    async fn run(&mut self, message: String) -> Result<(), DbError> {
        let result = self.conn().execute(sqlx::raw_sql(AssertSqlSafe(message))).await;
        result.map(|_| ()).map_err(|error| self.classify(error))
    }

    /// Sorts an error and remembers whether the connection survived it.
    pub(crate) fn classify(&mut self, error: sqlx::Error) -> DbError {
        self.is_broken |= match &error {
            sqlx::Error::Database(cause) => cause.code().is_some_and(|code| code.starts_with("57P")),
            _ => true,
        };
        error.into()
    }

    /// The connection.
    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        if let Some(meter) = &self.meter {
            meter.count_query();
        }
        self.connection
            .as_mut()
            .expect("a lease holds its connection until it is dropped")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(meter) = &self.meter {
            meter.add_held(self.since.elapsed());
        }
        let (Some(connection), Some(berth)) = (self.connection.take(), self.berth.take()) else {
            return;
        };
        if self.is_broken {
            return;
        }
        if !self.is_marked {
            berth.park(connection);
        } else if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(roll_back(connection, berth, self.reset));
        }
    }
}

/// Makes a marked connection fit for the next caller, or drops it; its berth stays taken meanwhile.
async fn roll_back(mut connection: PgConnection, berth: Berth, reset: &str) {
    let message = AssertSqlSafe(format!("ROLLBACK; {reset}"));
    match timeout(ROLLBACK_TIMEOUT, connection.execute(sqlx::raw_sql(message))).await {
        Ok(Ok(_)) => berth.park(connection),
        Ok(Err(error)) => tracing::debug!(error = &error as &dyn std::error::Error, "a rollback failed"),
        Err(_) => tracing::warn!("a rollback took too long; its connection is closed"),
    }
}
