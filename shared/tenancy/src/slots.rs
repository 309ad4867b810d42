//! A bounded set of connections that never hands on an open transaction.
//!
//! Callers with the same key wait a moment for the same connection ([`crate::lanes`]), so that a server process loads the
//! catalog of few tenants and finds it in its caches; when that one stays busy any free one serves. A lease is marked before
//! the first message of a transaction leaves.
//! Whatever becomes of the future that opened it, a marked connection is rolled back and reset before anybody else gets
//! it: by the commit, or by a task of its own when the lease is dropped. So a client that hangs up poisons nothing.
//!
//! What is given back is closed instead of kept once it has served long enough ([`crate::retirement`]), or when another
//! set has none and needs one ([`crate::budget`]).

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bulkhead_kernel::telemetry::metrics as telemetry;
use metrics::{Gauge, Histogram};
use sqlx::{ConnectOptions, postgres::PgConnectOptions};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    DbError,
    budget::{Budget, Spare},
    lanes::{Counted, Lanes},
    lease::{Kept, Lease, reset_for},
    plans::Policy,
    retirement::{Gauges, Life, Reason, Terms},
};

/// What a place in the set holds.
enum Slot {
    Empty,
    Idle(Kept),
    Leased,
}

/// How a set of connections is made.
#[derive(Clone)]
pub(crate) struct Plan {
    /// The pool it belongs to, and its shard there.
    pub(crate) pool: &'static str,
    pub(crate) shard: i16,
    pub(crate) options: PgConnectOptions,
    /// How many prepared statements each connection keeps.
    pub(crate) statement_cache: usize,
    pub(crate) size: usize,
    pub(crate) acquire_timeout: Duration,
    /// Whether callers with the same key prefer the same connection.
    pub(crate) is_affine: bool,
    /// How many statements each connection keeps planned.
    pub(crate) policy: Arc<Policy>,
    pub(crate) terms: Terms,
    pub(crate) budget: Arc<Budget>,
}

/// A bounded set of connections of one login.
pub(crate) struct Slots {
    in_use: Gauge,
    waiters: [Gauge; 2],
    acquire_secs: Histogram,
    gauges: Gauges,
    plan: Plan,
    set: Arc<Set>,
    lanes: Lanes,
    permits: Arc<Semaphore>,
}

/// The places, which live for as long as a connection is away from one.
struct Set {
    places: Box<[Mutex<Slot>]>,
    /// How many tenants the connection of each place has met.
    tenants: Box<[AtomicUsize]>,
    most: Gauge,
    pool: &'static str,
    shard: i16,
    /// What makes one of its connections fit for the next caller.
    reset: &'static str,
    terms: Terms,
    policy: Arc<Policy>,
    budget: Arc<Budget>,
}

impl Slots {
    /// A set that begins with some connections already open, of which it keeps as many as it has places.
    pub(crate) fn new(mut plan: Plan, open: Vec<Kept>) -> Self {
        let options = plan.options.application_name("bulkhead").disable_statement_logging();
        plan.options = options.statement_cache_capacity(plan.statement_cache);
        let (pool, shard) = (plan.pool, plan.shard);
        let met = |index: usize| open.get(index).map_or(0, |kept| kept.life.tenants());
        let tenants = (0..plan.size).map(|index| AtomicUsize::new(met(index))).collect();
        let mut open = open.into_iter().map(Slot::Idle);
        let places = (0..plan.size).map(|_| Mutex::new(open.next().unwrap_or(Slot::Empty)));
        let set = Arc::new(Set {
            places: places.collect(),
            tenants,
            most: telemetry::db_connection_tenants_most(pool, shard),
            pool,
            shard,
            reset: reset_for(plan.statement_cache),
            terms: plan.terms.clone(),
            policy: Arc::clone(&plan.policy),
            budget: Arc::clone(&plan.budget),
        });
        let weak: Weak<Set> = Arc::downgrade(&set);
        plan.budget.enrol(weak);
        Self {
            in_use: telemetry::db_pool_in_use(pool),
            waiters: [
                telemetry::db_pool_waiters(pool),
                telemetry::db_shard_waiters(pool, shard),
            ],
            acquire_secs: telemetry::db_acquire(pool),
            gauges: Gauges::new(pool, shard),
            set,
            lanes: Lanes::new(plan.size),
            permits: Arc::new(Semaphore::new(plan.size)),
            plan,
        }
    }

    /// Takes out what is idle. What is away is closed when it comes back, unless the set is used further.
    pub(crate) fn take_idle(&self) -> Vec<Kept> {
        self.set.places.iter().filter_map(take_idle).collect()
    }

    /// Another set of the same login.
    pub(crate) fn another(&self, pool: &'static str, size: usize, acquire_timeout: Duration) -> Self {
        let plan = Plan {
            pool,
            size,
            acquire_timeout,
            budget: Arc::new(Budget::new(size)),
            ..self.plan.clone()
        };
        Self::new(plan, Vec::new())
    }

    /// A connection, by preference the one that `key` used before. Fails when none is free, or none can be made, within
    /// the acquire timeout.
    pub(crate) async fn acquire(&self, key: Option<u64>) -> Result<Lease, DbError> {
        let asked = Instant::now();
        let acquired = timeout(self.plan.acquire_timeout, async {
            let entry = match key.filter(|_| self.plan.is_affine) {
                Some(key) => Some(self.lanes.enter(key, &self.waiters).await),
                None => None,
            };
            let (first, turn) = entry.map_or((None, None), |entry| (Some(entry.place), entry.turn));
            let permit = self.permit().await?;
            let (berth, parked) = self.free_slot(first.unwrap_or(0), (permit, turn)).await;
            let is_fresh = parked.is_none();
            let mut kept = match parked {
                Some(kept) => kept,
                None => self.connect().await?,
            };
            berth.note(&mut kept.life, key);
            let is_home = first == Some(berth.index);
            Ok(Lease::begin(kept, berth, is_fresh, is_home))
        });
        let acquired = acquired.await.unwrap_or(Err(DbError::Unavailable(None)));
        self.acquire_secs.record(asked.elapsed());
        acquired
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, DbError> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        let _waiting = self.waiters.clone().map(Counted::one);
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        permit.map_err(|_| DbError::Unavailable(None))
    }

    /// A connection on which `message`, beginning with `BEGIN`, has opened a transaction.
    pub(crate) async fn begin(&self, key: Option<u64>, message: &str) -> Result<Lease, DbError> {
        loop {
            let mut lease = self.acquire(key).await?;
            match lease.begin_transaction(message.to_owned()).await {
                Err(_) if lease.is_worth_another_try() => {}
                result => return result.map(|()| lease),
            }
        }
    }

    /// While no connection can be made the reason is ours, never taken for a mistake of the caller.
    async fn connect(&self) -> Result<Kept, DbError> {
        let leave = self.plan.budget.take().await?;
        let connected = self.plan.options.connect().await;
        let connection = connected.map_err(|error| DbError::Unavailable(Some(error)))?;
        Ok(Kept::new(
            connection,
            Life::begin(&self.plan.terms, self.gauges.clone()),
            leave,
        ))
    }

    /// A permit is held, so one slot is free; should it move under our eyes, we look again.
    async fn free_slot(&self, first: usize, permits: Permits) -> (Berth, Option<Kept>) {
        let count = self.plan.size;
        loop {
            for index in (first..count).chain(0..first) {
                let mut slot = lock(&self.set.places[index]);
                let parked = match mem::replace(&mut *slot, Slot::Leased) {
                    Slot::Leased => continue,
                    Slot::Idle(kept) => Some(kept),
                    Slot::Empty => None,
                };
                drop(slot);
                let berth = Berth {
                    set: Arc::clone(&self.set),
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

impl Spare for Set {
    fn close_one_idle(&self) -> bool {
        let closed = self.places.iter().find_map(take_idle);
        if closed.is_some() {
            self.count_retired(Reason::Room);
        }
        closed.is_some()
    }
}

impl Set {
    fn count_retired(&self, reason: Reason) {
        telemetry::db_connections_retired(self.pool, self.shard, reason.as_str()).increment(1);
    }

    fn set_tenants(&self, index: usize, tenants: usize) {
        self.tenants[index].store(tenants, Relaxed);
        let most = self.tenants.iter().map(|tenants| tenants.load(Relaxed)).max();
        self.most
            .set(u32::try_from(most.unwrap_or(0)).map_or(f64::INFINITY, f64::from));
    }
}

fn take_idle(place: &Mutex<Slot>) -> Option<Kept> {
    let mut slot = lock(place);
    match mem::replace(&mut *slot, Slot::Empty) {
        Slot::Idle(kept) => Some(kept),
        other => {
            *slot = other;
            None
        }
    }
}

fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One of the set, and the turn in a lane where there is one.
type Permits = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

/// The place a leased connection goes back to; left empty when it does not come back.
pub(crate) struct Berth {
    set: Arc<Set>,
    index: usize,
    _in_use: Counted,
    _permits: Permits,
}

impl Berth {
    /// What makes the connection fit for the next caller.
    pub(crate) fn reset(&self) -> &'static str {
        self.set.reset
    }

    /// Whether connections of this set keep plans.
    pub(crate) fn policy(&self) -> &Policy {
        &self.set.policy
    }

    pub(crate) fn note(&self, life: &mut Life, tenant: Option<u64>) {
        if tenant.is_some_and(|tenant| life.meet(tenant)) {
            self.set.set_tenants(self.index, life.tenants());
        }
    }

    /// Keeps the connection for the next caller, or closes it where it has served long enough. No transaction is open.
    pub(crate) fn park(self, kept: Kept) {
        let set = &self.set;
        let over = kept.life.is_over(&set.terms);
        let mut slot = lock(&set.places[self.index]);
        // Looked at under the lock: whoever begins to want one later finds this one idle.
        match over.or_else(|| set.budget.is_wanted().then_some(Reason::Room)) {
            None => *slot = Slot::Idle(kept),
            Some(reason) => {
                *slot = Slot::Empty;
                drop(slot);
                set.count_retired(reason);
                set.set_tenants(self.index, 0);
            }
        }
    }
}

impl Drop for Berth {
    fn drop(&mut self) {
        let mut slot = lock(&self.set.places[self.index]);
        if matches!(*slot, Slot::Leased) {
            *slot = Slot::Empty;
        }
    }
}
