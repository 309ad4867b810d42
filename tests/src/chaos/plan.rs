//! What a run does: from its seed, as long or as short as it was asked to be.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::harness::optional_env;

/// What is tried, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    Writes,
    Kills,
    Stops,
    Poison,
    Restarts,
    Rolling,
    Ticks,
}

impl Scenario {
    pub(crate) const ALL: [Self; 7] = [
        Self::Writes,
        Self::Kills,
        Self::Stops,
        Self::Poison,
        Self::Restarts,
        Self::Rolling,
        Self::Ticks,
    ];

    /// As in `CHAOS_ONLY` and in the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Writes => "writes",
            Self::Kills => "kills",
            Self::Stops => "stops",
            Self::Poison => "poison",
            Self::Restarts => "restarts",
            Self::Rolling => "rolling",
            Self::Ticks => "ticks",
        }
    }
}

/// A deliberate bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    EnqueueAfterCommit,
    LeaseCheckOff,
    PoisonRuleOff,
}

/// One run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) is_short: bool,
    pub(crate) mutant: Option<Mutant>,
    /// The API's binary: a name beside us, or a whole path.
    pub(crate) api: String,
    pub(crate) only: Vec<String>,
    pub(crate) rounds: Option<usize>,
}

impl Plan {
    /// As the environment says: `CHAOS_SEED`, `CHAOS_SHORT`, `CHAOS_ONLY` (names with commas between), `CHAOS_ROUNDS`.
    pub(crate) fn from_env() -> Self {
        let seed = optional_env("CHAOS_SEED").map(|seed| seed.parse().expect("CHAOS_SEED is a number"));
        let only = optional_env("CHAOS_ONLY").unwrap_or_default();
        let only: Vec<String> = only
            .split(',')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        for name in &only {
            let is_known = Scenario::ALL.iter().any(|scenario| scenario.name() == name);
            assert!(is_known, "CHAOS_ONLY names {name}, which is no scenario");
        }
        Self {
            seed: seed.unwrap_or_else(|| rand::thread_rng().gen_range(0..1_000_000)),
            is_short: optional_env("CHAOS_SHORT").is_some(),
            mutant: None,
            api: "bulkhead-api".into(),
            only,
            rounds: optional_env("CHAOS_ROUNDS").map(|n| n.parse().expect("CHAOS_ROUNDS is a number")),
        }
    }

    pub(crate) fn scenarios(&self) -> impl Iterator<Item = Scenario> {
        let is_chosen = |name| self.only.is_empty() || self.only.iter().any(|one| one == name);
        Scenario::ALL
            .into_iter()
            .filter(move |scenario| is_chosen(scenario.name()))
    }

    /// Rounds of a scenario.
    pub(crate) fn rounds(&self, full: usize, short: usize) -> usize {
        self.rounds.unwrap_or(if self.is_short { short } else { full })
    }

    /// The same choices for the same seed and scenario, whichever others run.
    pub(crate) fn rng(&self, scenario: Scenario) -> StdRng {
        StdRng::seed_from_u64(self.seed.wrapping_mul(31).wrapping_add(scenario as u64))
    }

    /// The lease of workers: the product's own default in a full run.
    pub(crate) const fn lease(&self) -> Duration {
        if self.is_short {
            Duration::from_secs(2)
        } else {
            Duration::from_secs(15)
        }
    }

    /// A bound that a full run holds with a lease of 15 s. A short run's is smaller as its lease is, with 4 s more for
    /// whatever does not scale: to start a process, and the machine of a pipeline.
    pub(crate) fn bound(&self, full: Duration) -> Duration {
        if self.is_short {
            full.mul_f64(self.lease().as_secs_f64() / 15.0) + Duration::from_secs(4)
        } else {
            full
        }
    }

    /// What makes a short run short; a full one runs with the product's defaults.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        if !self.is_short {
            return Vec::new();
        }
        let lease = self.lease().as_millis().to_string();
        [
            ("LEASE_MS", lease.as_str()),
            ("POLL_MS", "100"),
            ("RETRY_BASE_MS", "100"),
        ]
        .map(|(key, value)| (format!("BULKHEAD__JOBS__{key}"), value.to_owned()))
        .into()
    }
}
