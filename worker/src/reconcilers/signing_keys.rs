//! The keys that sign access tokens: the next one in time, and the end of those that are over.

use std::time::Duration;

use bulkhead_iam::signing_keys::{
    SigningKeyError,
    service::{self, Keeper},
};
use bulkhead_kernel::{clock::Clock, config};
use bulkhead_tenancy::Db;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// A key lives for days, so a minute is soon.
const EVERY: Duration = Duration::from_mins(1);

/// Keeps the keys until it is told to stop.
pub(crate) async fn run(db: Db, settings: config::Auth, stop: CancellationToken) {
    loop {
        if let Err(error) = keep(&db, &settings).await {
            tracing::warn!(%error, "the signing keys stay as they were");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(EVERY) => {}
        }
    }
}

/// Reads the files anew: they may be put there after the start.
async fn keep(db: &Db, settings: &config::Auth) -> Result<(), SigningKeyError> {
    let keeper = Keeper::new(db.clone(), settings.clone(), Clock::system())?;
    service::keep(&keeper).await
}
