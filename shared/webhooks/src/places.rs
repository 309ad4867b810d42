//! How many deliveries go to one webhook at a time, so that a slow one leaves room for others.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use bulkhead_kernel::ids::WebhookId;

/// At a time from one worker.
const PER_WEBHOOK: usize = 2;

/// Counts what is under way in this process.
#[derive(Clone, Default)]
pub(crate) struct Places(Arc<Mutex<BTreeMap<WebhookId, usize>>>);

/// A place that is taken until it is dropped.
pub(crate) struct Place {
    places: Places,
    webhook: WebhookId,
}

impl Places {
    /// `None` while all places are taken.
    pub(crate) fn take(&self, webhook: WebhookId) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let n_taken = taken.entry(webhook).or_default();
        if *n_taken == PER_WEBHOOK {
            return None;
        }
        *n_taken += 1;
        Some(Place {
            places: self.clone(),
            webhook,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n_taken) = taken.get_mut(&self.webhook) {
            *n_taken -= 1;
            if *n_taken == 0 {
                taken.remove(&self.webhook);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_has_two_places_and_gives_them_back() {
        let places = Places::default();
        let (one, other) = (WebhookId::new(), WebhookId::new());
        let held: Vec<Place> = (0..2).filter_map(|_| places.take(one)).collect();
        assert_eq!(held.len(), 2);
        assert!(places.take(one).is_none());
        assert!(places.take(other).is_some());
        drop(held);
        assert!(places.take(one).is_some());
        assert!(places.0.lock().unwrap().is_empty());
    }
}
