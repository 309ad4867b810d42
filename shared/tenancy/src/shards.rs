//! The tenant connections: a set for each shard, made when the first of its tenants comes.
//!
//! The shards in use share the total evenly. When one more comes, each gives up connections, which costs those that are
//! closed and the affinity of the others once in a thousand tenants.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::slots::{Plan, Slots};

/// All tenant connections of this process.
pub(crate) struct Shards {
    /// How the set of shard 0 would be made if it were the only one.
    plan: Plan,
    sets: RwLock<BTreeMap<i16, Arc<Slots>>>,
}

impl Shards {
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            plan,
            sets: RwLock::default(),
        }
    }

    /// The connections of one shard. Its tenants are reached over no others.
    pub(crate) fn of(&self, shard: i16) -> Arc<Slots> {
        let sets = self.sets.read().unwrap_or_else(PoisonError::into_inner);
        let known = sets.get(&shard).map(Arc::clone);
        drop(sets);
        known.unwrap_or_else(|| self.open(shard))
    }

    fn open(&self, shard: i16) -> Arc<Slots> {
        let mut sets = self.sets.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = sets.get(&shard) {
            return Arc::clone(known);
        }
        let mut open: BTreeMap<_, _> = sets.iter().map(|(shard, set)| (*shard, set.take_idle())).collect();
        open.insert(shard, Vec::new());
        let shares = shares(self.plan.size, open.len());
        let made = open.into_iter().zip(shares);
        *sets = made
            .map(|((shard, idle), size)| (shard, Arc::new(Slots::new(self.plan_of(shard, size), idle))))
            .collect();
        Arc::clone(&sets[&shard])
    }

    fn plan_of(&self, shard: i16, size: usize) -> Plan {
        let mut plan = self.plan.clone();
        if shard != 0 {
            let login = format!("{}_{shard}", plan.options.get_username());
            plan.options = plan.options.username(&login);
        }
        Plan { shard, size, ..plan }
    }
}

/// As even as can be, and never none: with more shards than connections the budget lends one to whoever needs it.
fn shares(total: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |index| (total / count + usize::from(index < total % count)).max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn shares_use_the_total_and_no_more_while_there_is_one_for_each(total in 1_usize..500, count in 1_usize..600) {
            let shares: Vec<_> = shares(total, count).collect();
            prop_assert_eq!(shares.len(), count);
            prop_assert_eq!(shares.iter().sum::<usize>(), total.max(count));
            prop_assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }
    }
}
