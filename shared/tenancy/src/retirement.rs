//! When a connection has served long enough.
//!
//! A server process keeps what it has read of the catalog for as long as it lives, so its memory grows with every tenant
//! that it meets and never shrinks. It is therefore closed in time: after so many tenants, or when it is old, and always
//! when it is given back, so never inside a transaction.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use bulkhead_kernel::{clock::Clock, config, telemetry::metrics as telemetry};
use chrono::{DateTime, TimeDelta, Utc};
use metrics::Gauge;

/// What a server process takes before it has met a tenant.
pub(crate) const BASE_BYTES: u64 = 4 << 20;

/// What it keeps for each tenant, at the product's own requests over a schema of 20 tables (docs/adr/0006). One that
/// touches every table of every tenant keeps about 13 KiB for each.
pub(crate) const TENANT_BYTES: u64 = 96 << 10;

/// What it keeps for a planned read (docs/adr/0016).
const PLAN_BYTES: u64 = 48 << 10;

/// Below it, connections would be busier being made than being used.
const FEWEST_TENANTS: u64 = 8;

/// How long a connection serves.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) tenants: usize,
    pub(crate) max_age: Duration,
    pub(crate) clock: Clock,
}

impl Terms {
    /// As the settings say; where they leave the number of tenants open, what the memory for all tenant connections allows
    /// each of them.
    pub(crate) fn of(settings: &config::Database, clock: Clock) -> Self {
        Self {
            tenants: match settings.tenants_per_connection {
                0 => tenants_within(
                    settings.memory_limit_mb << 20,
                    settings.tenant_connections,
                    settings.plans_per_connection(),
                ),
                set => set,
            },
            max_age: settings.connection_max_age,
            clock,
        }
    }

    fn end(&self) -> DateTime<Utc> {
        // Up to a tenth earlier, so that connections made together are not closed together.
        let tenths = RandomState::new().hash_one(()) % 1000;
        let millis = u64::try_from(self.max_age.as_millis()).unwrap_or(u64::MAX / 10_000);
        let millis = millis - millis / 10 * tenths / 1000;
        self.clock.now() + TimeDelta::milliseconds(i64::try_from(millis).unwrap_or(i64::MAX / 10_000))
    }
}

/// How many tenants each of so many connections may meet, so that all together stay below the limit.
fn tenants_within(limit: u64, connections: usize, plans: usize) -> usize {
    let share = limit / connections.max(1) as u64;
    let fixed = BASE_BYTES + plans as u64 * PLAN_BYTES;
    let tenants = (share.saturating_sub(fixed) / TENANT_BYTES).max(FEWEST_TENANTS);
    usize::try_from(tenants).unwrap_or(usize::MAX)
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Tenants,
    Age,
    /// Another shard has none.
    Room,
}

impl Reason {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Tenants => "tenants",
            Self::Age => "age",
            Self::Room => "room",
        }
    }
}

/// The gauges that a set of connections shares.
#[derive(Clone)]
pub(crate) struct Gauges {
    open: Gauge,
    tenants: Gauge,
    memory: Gauge,
}

impl Gauges {
    pub(crate) fn new(pool: &'static str, shard: i16) -> Self {
        Self {
            open: telemetry::db_connections(pool, shard),
            tenants: telemetry::db_connection_tenants(pool, shard),
            memory: telemetry::db_connection_memory(pool, shard),
        }
    }
}

/// What the server process behind a connection has seen of the world.
pub(crate) struct Life {
    met: HashSet<u64>,
    end: DateTime<Utc>,
    gauges: Gauges,
}

impl Life {
    pub(crate) fn begin(terms: &Terms, gauges: Gauges) -> Self {
        gauges.open.increment(1.0);
        gauges.memory.increment(bytes(BASE_BYTES));
        Self {
            met: HashSet::new(),
            end: terms.end(),
            gauges,
        }
    }

    /// The connection is about to serve this tenant. Gives whether it is the first time.
    pub(crate) fn meet(&mut self, tenant: u64) -> bool {
        let is_new = self.met.insert(tenant);
        if is_new {
            self.gauges.tenants.increment(1.0);
            self.gauges.memory.increment(bytes(TENANT_BYTES));
        }
        is_new
    }

    /// How many tenants it has met.
    pub(crate) fn tenants(&self) -> usize {
        self.met.len()
    }

    /// Why it should not go on, if so.
    pub(crate) fn is_over(&self, terms: &Terms) -> Option<Reason> {
        if self.met.len() >= terms.tenants {
            Some(Reason::Tenants)
        } else if terms.clock.now() >= self.end {
            Some(Reason::Age)
        } else {
            None
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let tenants = self.met.len() as u64;
        self.gauges.open.decrement(1.0);
        self.gauges.tenants.decrement(bytes(tenants));
        self.gauges.memory.decrement(bytes(BASE_BYTES + tenants * TENANT_BYTES));
    }
}

/// Exact below 2^53, which is more memory than there is.
#[expect(clippy::cast_precision_loss, reason = "gauges are floating point numbers")]
const fn bytes(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terms(tenants: usize, max_age: Duration) -> Terms {
        Terms {
            tenants,
            max_age,
            clock: Clock::manual(DateTime::default()),
        }
    }

    fn life(terms: &Terms) -> Life {
        Life::begin(terms, Gauges::new("test", 0))
    }

    #[test]
    fn a_tenant_counts_once() {
        let terms = terms(2, Duration::from_hours(1));
        let mut life = life(&terms);
        assert!(life.meet(7) && !life.meet(7));
        assert_eq!(life.is_over(&terms), None);
        assert!(life.meet(8));
        assert_eq!(life.is_over(&terms), Some(Reason::Tenants));
    }

    #[test]
    fn ages_differ_by_up_to_a_tenth() {
        let terms = terms(2, Duration::from_secs(1000));
        let lives: Vec<_> = (0..200).map(|_| life(&terms)).collect();
        terms.clock.advance(TimeDelta::milliseconds(899_999));
        assert!(lives.iter().all(|life| life.is_over(&terms).is_none()));
        terms.clock.advance(TimeDelta::seconds(50));
        let n_over = lives.iter().filter(|life| life.is_over(&terms).is_some()).count();
        assert!(
            (20..180).contains(&n_over),
            "{n_over} of 200 after 95 percent of their time"
        );
        terms.clock.advance(TimeDelta::seconds(51));
        assert!(lives.iter().all(|life| life.is_over(&terms) == Some(Reason::Age)));
    }

    proptest! {
        #[test]
        fn what_the_memory_allows_stays_below_it(limit_mb in 1_u64..100_000, connections in 1_u32..1000, plans in 0_u32..500) {
            let limit = limit_mb << 20;
            let tenants = tenants_within(limit, connections as usize, plans as usize) as u64;
            let each = BASE_BYTES + u64::from(plans) * PLAN_BYTES + tenants * TENANT_BYTES;
            let all = u64::from(connections) * each;
            prop_assert!(all <= limit || tenants == FEWEST_TENANTS, "{all} bytes");
        }
    }
}
