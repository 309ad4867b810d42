//! How many deliveries go to one webhook at a time, so that a slow one leaves room for others.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bulkhead_kernel::ids::WebhookId;
use tokio::time::Instant;

/// At a time from one worker.
const PER_WEBHOOK: usize = 2;

/// Between two that come back for a place: those that wait must not keep the worker busy with looking.
const SPACING: Duration = Duration::from_millis(50);

/// The soonest and the latest they come back.
const WAITS: [Duration; 2] = [Duration::from_millis(250), Duration::from_mins(1)];

/// Counts what is under way in this process.
#[derive(Clone, Default)]
pub(crate) struct Places(Arc<Mutex<BTreeMap<WebhookId, Queue>>>);

#[derive(Default)]
struct Queue {
    n_taken: usize,
    /// When the last one that was turned away comes back.
    last: Option<Instant>,
}

/// A place that is taken until it is dropped.
pub(crate) struct Place {
    places: Places,
    webhook: WebhookId,
}

impl Places {
    /// While all places are taken: how long to wait before asking again, the longer the more wait.
    pub(crate) fn take(&self, webhook: WebhookId) -> Result<Place, Duration> {
        let (mut queues, now) = (self.queues(), Instant::now());
        let queue = queues.entry(webhook).or_default();
        if queue.n_taken == PER_WEBHOOK {
            let [soonest, latest] = WAITS;
            let after = queue.last.map_or(now, |last| last + SPACING);
            let at = after.clamp(now + soonest, now + latest);
            queue.last = Some(at);
            return Err(at - now);
        }
        queue.n_taken += 1;
        Ok(Place {
            places: self.clone(),
            webhook,
        })
    }

    fn queues(&self) -> MutexGuard<'_, BTreeMap<WebhookId, Queue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queues = self.places.queues();
        if let Some(queue) = queues.get_mut(&self.webhook) {
            queue.n_taken -= 1;
            // Whoever comes back takes a place, so that a queue goes with the last of them.
            if queue.n_taken == 0 && queue.last.is_none_or(|last| last <= Instant::now()) {
                queues.remove(&self.webhook);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_webhook_has_two_places_and_gives_them_back() {
        let places = Places::default();
        let (one, other) = (WebhookId::new(), WebhookId::new());
        let held: Vec<Place> = (0..2).filter_map(|_| places.take(one).ok()).collect();
        assert_eq!(held.len(), 2);
        assert!(places.take(one).is_err());
        assert!(places.take(other).is_ok());
        drop(held);
        assert!(places.take(one).is_ok());
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(places.take(one).ok());
        assert!(places.queues().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_wait_come_back_one_after_the_other_and_within_a_minute() {
        let places = Places::default();
        let webhook = WebhookId::new();
        let _held: Vec<Place> = (0..2).filter_map(|_| places.take(webhook).ok()).collect();
        let waits: Vec<Duration> = (0..5_000).filter_map(|_| places.take(webhook).err()).collect();
        assert_eq!(waits.len(), 5_000);
        assert_eq!(waits[0], WAITS[0]);
        assert_eq!(waits[100], WAITS[0] + 100 * SPACING);
        assert_eq!(waits[4_999], WAITS[1]);
        // Once they are through, the next one waits no longer than the first did.
        tokio::time::advance(Duration::from_mins(2)).await;
        assert_eq!(places.take(webhook).err(), Some(WAITS[0]));
    }
}
