//! Taking the first key over, making the next, and following what others made.

use std::time::Duration;

use bulkhead_kernel::{clock::Clock, config};
use bulkhead_tenancy::{ControlTx, Db};
use chrono::{DateTime, Utc};
use jsonwebtoken::DecodingKey;
use tracing::instrument;

use super::{
    Ring, SigningKeyError, Vault,
    model::{RingKey, Times, delta, due, overlap},
    store::{self, Stored},
};
use crate::{
    Iam,
    tokens::{Keys, PrivateKey},
};

/// What changes the keys: the parts that a worker or a command has.
pub struct Keeper {
    db: Db,
    vault: Vault,
    files: Keys,
    settings: config::Auth,
    clock: Clock,
}

impl Keeper {
    /// A keeper with the key files of the settings.
    pub fn new(db: Db, settings: config::Auth, clock: Clock) -> Result<Self, SigningKeyError> {
        let files = Keys::load(&settings.keys_dir)?;
        Ok(Self::with_files(db, files, settings, clock))
    }

    /// A keeper with these key files.
    #[must_use]
    pub fn with_files(db: Db, files: Keys, settings: config::Auth, clock: Clock) -> Self {
        Self {
            vault: Vault::new(&settings, &files),
            db,
            files,
            settings,
            clock,
        }
    }
}

/// What is due now: takes the first key over, announces the next, removes what is over.
#[instrument(skip_all)]
pub async fn keep(keeper: &Keeper) -> Result<(), SigningKeyError> {
    let now = keeper.clock.now();
    let mut tx = keeper.db.control().await?;
    let looks_due = find_due(keeper, &mut tx, now).await?.is_some();
    tx.commit().await?;
    // Made before the lock is taken, as that takes a while.
    let key = looks_due.then(PrivateKey::generate).transpose()?;
    let mut tx = keeper.db.control().await?;
    store::lock(&mut tx).await?;
    take_over(&mut tx, &keeper.vault, &keeper.files, &keeper.settings, now).await?;
    if let (Some(key), Some(at)) = (key, find_due(keeper, &mut tx, now).await?) {
        announce(keeper, &mut tx, &key, at, now).await?;
    }
    let n_cleared = store::clear_retired(&mut tx, now).await?;
    if n_cleared > 0 {
        tracing::info!(n_cleared, "retired signing keys lost their private halves");
    }
    Ok(tx.commit().await?)
}

async fn find_due(
    keeper: &Keeper,
    tx: &mut ControlTx,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, SigningKeyError> {
    let times: Vec<Times> = store::list(tx).await?.into_iter().map(|key| key.times).collect();
    Ok(due(&times, now, keeper.settings.key_life, keeper.settings.key_announce))
}

/// Makes a key that signs `after` this time; gives its id.
#[instrument(skip_all)]
pub async fn rotate(keeper: &Keeper, after: Duration) -> Result<String, SigningKeyError> {
    let key = PrivateKey::generate()?;
    let mut tx = keeper.db.control().await?;
    store::lock(&mut tx).await?;
    // Counted from here: whoever follows needs all of this time to hear of the key.
    let now = keeper.clock.now();
    take_over(&mut tx, &keeper.vault, &keeper.files, &keeper.settings, now).await?;
    let id = announce(keeper, &mut tx, &key, now + delta(after), now).await?;
    tx.commit().await?;
    Ok(id)
}

async fn announce(
    keeper: &Keeper,
    tx: &mut ControlTx,
    key: &PrivateKey,
    activates_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<String, SigningKeyError> {
    let retires_at = activates_at + overlap(keeper.settings.access_token);
    store::set_succeeded(tx, activates_at, retires_at).await?;
    let id = insert(tx, &keeper.vault, key, activates_at, None, now).await?;
    tracing::info!(key.id = id, %activates_at, "a signing key was announced");
    Ok(id)
}

/// Keys from files become rows where there are none: the newest signs at once, as before, the others verify as long as a
/// token of theirs can be about.
async fn take_over(
    tx: &mut ControlTx,
    vault: &Vault,
    files: &Keys,
    settings: &config::Auth,
    now: DateTime<Utc>,
) -> Result<(), SigningKeyError> {
    if !store::list(tx).await?.is_empty() {
        return Ok(());
    }
    for (age, key) in (1..).zip(files.private()) {
        let activates_at = now - chrono::TimeDelta::seconds(age);
        let retires_at = (age > 1).then(|| now + overlap(settings.access_token));
        let id = insert(tx, vault, key, activates_at, retires_at, now).await?;
        tracing::info!(key.id = id, "a signing key was taken over from its file");
    }
    Ok(())
}

async fn insert(
    tx: &mut ControlTx,
    vault: &Vault,
    key: &PrivateKey,
    activates_at: DateTime<Utc>,
    retires_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<String, SigningKeyError> {
    let id = key.public.id.clone();
    let stored = Stored {
        times: Times {
            id: id.clone(),
            activates_at,
            retires_at,
        },
        public: key.public.clone(),
        wrapped: Some(vault.wrap(&id, &key.pem)?),
    };
    store::insert(tx, &stored, now).await?;
    Ok(id)
}

/// Brings the keys of this process up to what the rows say. To be called every second or so: a key is announced long
/// before it signs, so nobody meets one that is not known here.
#[instrument(skip_all)]
pub async fn follow(iam: &Iam) -> Result<(), SigningKeyError> {
    let now = iam.clock.now();
    let mut tx = iam.db.control().await?;
    let mut rows = store::list(&mut tx).await?;
    if rows.is_empty() {
        store::lock(&mut tx).await?;
        take_over(&mut tx, &iam.vault, iam.tokens.files(), &iam.settings, now).await?;
        rows = store::list(&mut tx).await?;
    }
    tx.commit().await?;
    rows.retain(|row| row.times.is_alive(now));
    if iam
        .tokens
        .has_ring_of(|ring| ring.is_of(rows.iter().map(|row| &row.times)))
    {
        return Ok(());
    }
    let keys = rows
        .into_iter()
        .map(|row| open(&iam.vault, row))
        .collect::<Result<_, _>>()?;
    iam.tokens.set_ring(Ring::new(keys));
    Ok(())
}

fn open(vault: &Vault, row: Stored) -> Result<RingKey, SigningKeyError> {
    let id = &row.times.id;
    let pem = vault.unwrap(id, &row.wrapped.unwrap_or_default())?;
    let broken = || SigningKeyError::Unwrap(id.clone());
    Ok(RingKey {
        signing: PrivateKey::signing(&pem).map_err(|_| broken())?,
        verifying: DecodingKey::from_rsa_components(&row.public.modulus, &row.public.exponent).map_err(|_| broken())?,
        public: row.public,
        times: row.times,
    })
}
