//! The same rules in the memory of this process, for while Redis is away. It sees every attempt, so that an outage begins
//! with what this process has counted so far.
//!
//! A sliding log rather than a token bucket: ten failures in a quarter of an hour is a promise, and a bucket that starts
//! full and drips gives away twice that.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bulkhead_kernel::config::SignInLimits;
use uuid::Uuid;

use super::{
    KNOWN_FOR, UNDER_WAY,
    model::{Account, AddressGroup, Admission, Attempt, Mark, Outcome},
};

/// The most budgets, and the most known addresses. Whoever finds no place shares one budget with the others who did not.
const CAPACITY: usize = 50_000;

/// Between two searches for budgets that are over.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Whose budget it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Name {
    Account(Account),
    /// Of one account for an address its owner uses.
    Known(Mark),
    Address(AddressGroup),
    OtherAccounts,
    OtherAddresses,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    attempt: Uuid,
    mark: Mark,
    at: Instant,
    is_under_way: bool,
}

/// The oldest first.
type Budget = Vec<Entry>;

pub(super) struct Local {
    limits: SignInLimits,
    capacity: usize,
    state: Mutex<State>,
}

struct State {
    budgets: HashMap<Name, Budget>,
    /// Until when an address is known to an account.
    known: HashMap<Mark, Instant>,
    swept_at: Option<Instant>,
}

impl Local {
    pub(super) fn new(limits: SignInLimits) -> Self {
        Self::with_capacity(limits, CAPACITY)
    }

    pub(super) fn with_capacity(limits: SignInLimits, capacity: usize) -> Self {
        Self {
            limits,
            capacity,
            state: Mutex::new(State {
                budgets: HashMap::new(),
                known: HashMap::new(),
                swept_at: None,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn n_budgets(&self) -> usize {
        self.state().budgets.len()
    }

    /// Decides alone.
    pub(super) fn admit(&self, attempt: &Attempt, now: Instant) -> Admission {
        let mut state = self.state();
        let places = self.places(&mut state, attempt, now);
        let [account, address] = places.map(|(name, limit)| {
            let budget = state.budgets.entry(name).or_default();
            budget.retain(|entry| entry.at + self.limits.window > now);
            look(budget, limit, self.limits.window, now)
        });
        let admission = account.and(address);
        if admission == Admission::Admitted {
            for (name, _) in places {
                push(&mut state, name, attempt, true, now);
            }
        }
        admission
    }

    /// Takes note of an attempt that Redis admitted.
    pub(super) fn note(&self, attempt: &Attempt, is_known: bool, now: Instant) {
        let mut state = self.state();
        if is_known {
            self.remember(&mut state, attempt, now);
        }
        self.charge(&mut state, attempt, true, now);
    }

    /// Ends an attempt.
    pub(super) fn settle(&self, attempt: &Attempt, outcome: Outcome, now: Instant) {
        let mut state = self.state();
        for name in [
            Name::Account(attempt.account),
            Name::Known(attempt.mark),
            Name::Address(attempt.address),
            Name::OtherAccounts,
            Name::OtherAddresses,
        ] {
            remove(&mut state, name, |entry| entry.attempt == attempt.id);
        }
        match outcome {
            Outcome::Undecided => {}
            Outcome::Succeeded => {
                state.budgets.remove(&Name::Known(attempt.mark));
                remove(&mut state, Name::Account(attempt.account), |entry| {
                    entry.mark == attempt.mark
                });
                self.remember(&mut state, attempt, now);
            }
            Outcome::Failed => self.charge(&mut state, attempt, false, now),
        }
    }

    /// Takes from both budgets; from a full one the oldest entry goes.
    fn charge(&self, state: &mut State, attempt: &Attempt, is_under_way: bool, now: Instant) {
        for (name, limit) in self.places(state, attempt, now) {
            let budget = push(state, name, attempt, is_under_way, now);
            let n_excess = budget.len().saturating_sub(limit);
            budget.drain(..n_excess);
        }
    }

    /// The budgets that an attempt takes from, and their sizes.
    fn places(&self, state: &mut State, attempt: &Attempt, now: Instant) -> [(Name, usize); 2] {
        let is_known = state.known.get(&attempt.mark).is_some_and(|until| *until > now);
        let account = if is_known {
            Name::Known(attempt.mark)
        } else {
            Name::Account(attempt.account)
        };
        let account = self.place(state, account, Name::OtherAccounts, now);
        let address = self.place(state, Name::Address(attempt.address), Name::OtherAddresses, now);
        [
            (account, self.limits.failures_per_account),
            (address, self.limits.failures_per_address),
        ]
    }

    fn place(&self, state: &mut State, name: Name, other: Name, now: Instant) -> Name {
        if state.budgets.contains_key(&name) {
            return name;
        }
        // One place for each of the two, and the two shared ones.
        if state.budgets.len() + 2 >= self.capacity {
            self.sweep(state, now);
        }
        if state.budgets.len() + 2 < self.capacity {
            name
        } else {
            other
        }
    }

    fn sweep(&self, state: &mut State, now: Instant) {
        if state.swept_at.is_some_and(|swept_at| swept_at + SWEEP_EVERY > now) {
            return;
        }
        state.swept_at = Some(now);
        let window = self.limits.window;
        state
            .budgets
            .retain(|_, budget| budget.last().is_some_and(|entry| entry.at + window > now));
        state.known.retain(|_, until| *until > now);
    }

    fn remember(&self, state: &mut State, attempt: &Attempt, now: Instant) {
        if state.known.len() >= self.capacity {
            self.sweep(state, now);
        }
        if state.known.len() < self.capacity || state.known.contains_key(&attempt.mark) {
            state.known.insert(attempt.mark, now + KNOWN_FOR);
        }
    }
}

fn push<'s>(state: &'s mut State, name: Name, attempt: &Attempt, is_under_way: bool, now: Instant) -> &'s mut Budget {
    let entry = Entry {
        attempt: attempt.id,
        mark: attempt.mark,
        at: now,
        is_under_way,
    };
    let budget = state.budgets.entry(name).or_default();
    budget.push(entry);
    budget
}

fn remove(state: &mut State, name: Name, is_meant: impl Fn(&Entry) -> bool) {
    if let Some(budget) = state.budgets.get_mut(&name) {
        budget.retain(|entry| !is_meant(entry));
        if budget.is_empty() {
            state.budgets.remove(&name);
        }
    }
}

/// What a budget without entries that are over says.
fn look(budget: &Budget, limit: usize, window: Duration, now: Instant) -> Admission {
    let Some(last) = budget.len().checked_sub(limit) else {
        return Admission::Admitted;
    };
    if budget
        .iter()
        .any(|entry| entry.is_under_way && entry.at + UNDER_WAY > now)
    {
        return Admission::Busy;
    }
    let frees_at = budget.get(last).map_or(now, |entry| entry.at + window);
    Admission::Refused(frees_at.saturating_duration_since(now))
}
