//! Which connection of a set a caller waits for: the one that its key names, its home, for a moment.

use std::{sync::Arc, time::Duration};

use metrics::Gauge;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// How long a caller waits for the connection that knows its tenant before it takes any. A few requests pass in that
/// time; behind a long transaction nobody waits for longer.
const PATIENCE: Duration = Duration::from_millis(20);

/// One line for each place of a set. Who has its turn finds the place free, unless somebody impatient has taken it.
pub(crate) struct Lanes(Box<[Arc<Semaphore>]>);

/// The place a caller is to look at first, and its turn there unless it lost its patience.
pub(crate) struct Entry {
    pub(crate) place: usize,
    pub(crate) turn: Option<OwnedSemaphorePermit>,
}

impl Lanes {
    pub(crate) fn new(places: usize) -> Self {
        Self((0..places).map(|_| Arc::new(Semaphore::new(1))).collect())
    }

    /// Waits for the home of a key.
    pub(crate) async fn enter(&self, key: u64, waiters: &[Gauge; 2]) -> Entry {
        let place = usize::try_from(key % self.0.len() as u64).unwrap_or(0);
        let lane = &self.0[place];
        if let Ok(turn) = Arc::clone(lane).try_acquire_owned() {
            let turn = Some(turn);
            return Entry { place, turn };
        }
        let _waiting = waiters.clone().map(Counted::one);
        let turn = timeout(PATIENCE, Arc::clone(lane).acquire_owned()).await;
        let turn = turn.ok().and_then(Result::ok);
        Entry { place, turn }
    }
}

/// One on a gauge for as long as it lives.
pub(crate) struct Counted(Gauge);

impl Counted {
    pub(crate) fn one(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauges() -> [Gauge; 2] {
        [Gauge::noop(), Gauge::noop()]
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_at_its_home_and_is_let_in_when_it_is_its_turn() {
        let (lanes, waiters) = (Lanes::new(4), gauges());
        let (held, other) = (lanes.enter(5, &waiters).await, lanes.enter(6, &waiters).await);
        assert_eq!((held.place, other.place), (1, 2));
        assert!(held.turn.is_some() && other.turn.is_some());
        let mut next = Box::pin(lanes.enter(9, &waiters));
        assert!(futures_util::poll!(&mut next).is_pending());
        drop(held);
        let next = next.await;
        assert!(next.place == 1 && next.turn.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_its_patience() {
        let (lanes, waiters) = (Lanes::new(1), gauges());
        let _held = lanes.enter(3, &waiters).await;
        let begun = tokio::time::Instant::now();
        let late = lanes.enter(3, &waiters).await;
        assert!(late.turn.is_none());
        assert!((PATIENCE..2 * PATIENCE).contains(&begun.elapsed()));
    }
}
