//! Which connection of a set a caller waits for. Each key has two homes: a caller takes the one that is free, the first
//! before the second, and where both are busy it queues at the shorter line. Two choices instead of one shorten the longest
//! line from log n / log log n to log log n (Mitzenmacher, "The power of two choices in randomized load balancing", 2001).

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use metrics::Gauge;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// How long a caller waits for a connection that knows its tenant before it takes any. A few requests pass in that time;
/// behind a long transaction nobody waits for longer.
const PATIENCE: Duration = Duration::from_millis(20);

/// One line for each place of a set.
pub(crate) struct Lanes(Box<[Lane]>);

struct Lane {
    /// Who holds it finds the place free, unless somebody impatient has taken it.
    turn: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// The place a caller is to look at first, and its turn there unless it lost its patience.
pub(crate) struct Entry {
    pub(crate) place: usize,
    pub(crate) turn: Option<OwnedSemaphorePermit>,
}

impl Lanes {
    pub(crate) fn new(places: usize) -> Self {
        let lane = |_| Lane {
            turn: Arc::new(Semaphore::new(1)),
            waiting: AtomicUsize::new(0),
        };
        Self((0..places).map(lane).collect())
    }

    /// Waits for one of the two homes of a key.
    pub(crate) async fn enter(&self, key: u64, waiters: &[Gauge; 2]) -> Entry {
        let homes = homes(key, self.0.len());
        for place in homes {
            if let Ok(turn) = Arc::clone(&self.0[place].turn).try_acquire_owned() {
                return Entry {
                    place,
                    turn: Some(turn),
                };
            }
        }
        let _waiting = waiters.clone().map(Counted::one);
        let place = self.shorter(homes);
        let turn = self.0[place].queue().await;
        Entry { place, turn }
    }

    fn shorter(&self, [first, second]: [usize; 2]) -> usize {
        let length = |place: usize| self.0[place].waiting.load(Relaxed);
        if length(second) < length(first) { second } else { first }
    }
}

impl Lane {
    async fn queue(&self) -> Option<OwnedSemaphorePermit> {
        let _place_in_line = InLine::behind(&self.waiting);
        timeout(PATIENCE, Arc::clone(&self.turn).acquire_owned())
            .await
            .ok()?
            .ok()
    }
}

/// Two different places where there are two.
fn homes(key: u64, places: usize) -> [usize; 2] {
    let places = places as u64;
    let first = key % places;
    let step = match places {
        1 => 0,
        _ => 1 + key / places % (places - 1),
    };
    [first, (first + step) % places].map(|place| usize::try_from(place).unwrap_or(0))
}

/// One in a line for as long as it lives.
struct InLine<'a>(&'a AtomicUsize);

impl<'a> InLine<'a> {
    fn behind(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Relaxed);
        Self(waiting)
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
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

    #[test]
    fn a_key_has_two_different_homes_and_all_pairs_are_used_alike() {
        assert_eq!(homes(7, 1), [0, 0]);
        let mut used = [[0_u32; 4]; 4];
        for key in 0..1200 {
            let [first, second] = homes(key, 4);
            used[first][second] += 1;
        }
        for (first, row) in used.iter().enumerate() {
            for (second, count) in row.iter().enumerate() {
                assert_eq!(*count, if first == second { 0 } else { 100 });
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_free_home_is_taken_and_the_shorter_line_joined() {
        let (lanes, waiters) = (Lanes::new(4), gauges());
        let [first, second] = homes(5, 4);
        let one = lanes.enter(5, &waiters).await;
        let two = lanes.enter(5, &waiters).await;
        assert_eq!((one.place, two.place), (first, second));
        assert!(one.turn.is_some() && two.turn.is_some());

        // Two more stand in one line each, and are let in when it is their turn.
        let (mut three, mut four) = (Box::pin(lanes.enter(5, &waiters)), Box::pin(lanes.enter(5, &waiters)));
        assert!(futures_util::poll!(&mut three).is_pending() && futures_util::poll!(&mut four).is_pending());
        drop(two);
        assert!(futures_util::poll!(&mut three).is_pending());
        let four = four.await;
        assert_eq!(four.place, second);
        assert!(four.turn.is_some());

        // Who gives up leaves the line.
        drop(three);
        assert_eq!(lanes.0[first].waiting.load(Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_its_patience() {
        let (lanes, waiters) = (Lanes::new(1), gauges());
        let held = lanes.enter(3, &waiters).await;
        let begun = tokio::time::Instant::now();
        let late = lanes.enter(3, &waiters).await;
        assert!(late.turn.is_none());
        assert!(begun.elapsed() >= PATIENCE);
        assert_eq!(lanes.0[0].waiting.load(Relaxed), 0);
        drop(held);
    }
}
