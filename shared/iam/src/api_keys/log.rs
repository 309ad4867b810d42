//! What is written of the use of keys: not in the request, but together, a moment later.
//!
//! A key's last use is written at most once a minute, and a refusal of a right secret is recorded at most once a minute
//! for each reason, by each process. What cannot be written is let go: both are hints and not proofs.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bulkhead_audit::{Actor, Event};
use bulkhead_kernel::{
    ids::{ApiKeyId, TenantId},
    origin::Origin,
    telemetry::fields,
};
use bulkhead_tenancy::DbError;
use chrono::{DateTime, TimeDelta, Utc};

use super::{KeyText, Refusal, store};
use crate::Iam;

/// How exactly it is known when a key was last used.
const GRAIN: TimeDelta = TimeDelta::minutes(1);

/// The most that waits to be written.
const CAPACITY: usize = 10_000;

type Place = (TenantId, ApiKeyId);

/// What is waiting to be written.
#[derive(Default)]
pub(crate) struct KeyLog(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    used: HashMap<Place, DateTime<Utc>>,
    refused: Vec<(Place, Event)>,
    /// When which refusal was last recorded.
    recorded: HashMap<(Place, Refusal), DateTime<Utc>>,
}

/// What is to be written in one tenant.
#[derive(Default)]
struct Batch {
    used: Vec<(ApiKeyId, DateTime<Utc>)>,
    refused: Vec<Event>,
}

impl KeyLog {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key was used; `before` is what its row says.
    pub(super) fn used(&self, key: &KeyText, before: Option<DateTime<Utc>>, now: DateTime<Utc>) {
        if before.is_some_and(|before| now - before < GRAIN) {
            return;
        }
        let mut waiting = self.lock();
        if waiting.used.len() < CAPACITY {
            waiting.used.insert((key.tenant, key.id), now);
        }
    }

    /// The key's secret was right, and yet it was refused.
    pub(super) fn refused(&self, key: &KeyText, refusal: Refusal, origin: &Origin, now: DateTime<Utc>) {
        let place = (key.tenant, key.id);
        let is_fresh = |at: DateTime<Utc>| now - at < GRAIN;
        let mut waiting = self.lock();
        if waiting.recorded.len() >= CAPACITY {
            waiting.recorded.retain(|_, at| is_fresh(*at));
        }
        let is_full = waiting.recorded.len() >= CAPACITY || waiting.refused.len() >= CAPACITY;
        match waiting.recorded.entry((place, refusal)) {
            Entry::Occupied(known) if is_fresh(*known.get()) => return,
            Entry::Vacant(_) if is_full => return,
            entry => {
                entry.insert_entry(now);
            }
        }
        let actor = Actor {
            kind: "api_key",
            id: key.id.to_string(),
        };
        let event = Event::new("api_key.use", actor, origin, now).on("api_key", key.id);
        let event = event.change("reason", (), refusal.as_str()).refused();
        waiting.refused.push((place, event));
    }

    fn take(&self) -> BTreeMap<TenantId, Batch> {
        let (used, refused) = {
            let mut waiting = self.lock();
            (std::mem::take(&mut waiting.used), std::mem::take(&mut waiting.refused))
        };
        let mut batches = BTreeMap::<_, Batch>::new();
        for ((tenant, key), at) in used {
            batches.entry(tenant).or_default().used.push((key, at));
        }
        for ((tenant, _), event) in refused {
            batches.entry(tenant).or_default().refused.push(event);
        }
        batches
    }
}

/// Writes what is waiting, a transaction for each tenant.
pub async fn write(iam: &Iam) {
    for (tenant, batch) in iam.key_log.take() {
        match write_batch(iam, tenant, batch).await {
            // It cannot be written to, and may have gone since.
            Ok(()) | Err(DbError::TenantReadOnly | DbError::TenantNotActive | DbError::TenantNotFound) => {}
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!({ fields::TENANT_ID } = %tenant, error, "the use of keys was not written down");
            }
        }
    }
}

async fn write_batch(iam: &Iam, tenant: TenantId, mut batch: Batch) -> Result<(), DbError> {
    // All processes lock rows in one order.
    batch.used.sort_unstable();
    let mut tx = iam.db.tenant(tenant).await?;
    store::set_used(&mut tx, &batch.used).await?;
    for event in batch.refused {
        bulkhead_audit::record(&mut tx, event).await?;
    }
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api_keys::text;

    fn key() -> KeyText {
        KeyText::new(TenantId::new(), ApiKeyId::new(), &text::seed())
    }

    fn at(secs: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + secs, 0).unwrap()
    }

    #[test]
    fn a_use_within_the_minute_is_not_written_again() {
        let (log, key) = (KeyLog::default(), key());
        log.used(&key, Some(at(0)), at(59));
        assert!(log.take().is_empty());
        log.used(&key, Some(at(0)), at(60));
        log.used(&key, None, at(61));
        assert_eq!(log.take()[&key.tenant].used, [(key.id, at(61))]);
        assert!(log.take().is_empty());
    }

    #[test]
    fn a_refusal_is_recorded_once_a_minute_for_each_reason() {
        let (log, key, origin) = (KeyLog::default(), key(), Origin::system("r"));
        let refuse = |refusal, secs| log.refused(&key, refusal, &origin, at(secs));
        refuse(Refusal::Expired, 0);
        refuse(Refusal::Expired, 59);
        refuse(Refusal::Address, 59);
        assert_eq!(log.take()[&key.tenant].refused.len(), 2);
        refuse(Refusal::Expired, 59);
        assert!(log.take().is_empty());
        refuse(Refusal::Expired, 60);
        assert_eq!(log.take()[&key.tenant].refused.len(), 1);
    }

    #[test]
    fn no_more_than_the_capacity_waits() {
        let (log, origin) = (KeyLog::default(), Origin::system("r"));
        for _ in 0..=CAPACITY {
            let key = key();
            log.used(&key, None, at(0));
            log.refused(&key, Refusal::Expired, &origin, at(0));
        }
        let waiting = log.lock();
        assert_eq!((waiting.used.len(), waiting.refused.len()), (CAPACITY, CAPACITY));
        assert!(waiting.recorded.len() <= CAPACITY);
    }
}
