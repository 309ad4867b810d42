//! Serving: everything is put together here, once.

use anyhow::Context as _;
use bulkhead_iam::{Iam, tokens::Keys};
use bulkhead_kernel::{
    clock::Clock,
    config::Section,
    telemetry::{self, metrics},
};
use bulkhead_tenancy::Db;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{AppState, Listeners};

const NEEDED: &[Section] = &[
    Section::Server,
    Section::Database,
    Section::Redis,
    Section::Auth,
    Section::Telemetry,
];

/// Serves until somebody says stop and the requests in flight are answered.
pub(super) async fn serve() -> anyhow::Result<()> {
    let config = super::config(NEEDED)?;
    let _metrics = metrics::install();
    let _telemetry = telemetry::init(&config.telemetry, "bulkhead-api")?;
    let clock = Clock::system();
    let keys = Keys::load(&config.auth.keys_dir)?;
    let db = Db::new(&config.database).context("cannot use the database's URLs")?;
    let iam = Iam::new(db.clone(), keys, config.auth, clock.clone())?;
    let (public, internal) = (config.server.listen, config.server.internal_listen);
    let bound = Listeners::bind(public, internal).await;
    let listeners = bound.with_context(|| format!("cannot listen on {public} and {internal}"))?;
    let shutdown = on_signal()?;
    let (public, internal) = (listeners.public.local_addr()?, listeners.internal.local_addr()?);
    tracing::info!(%public, %internal, "listening");
    crate::serve(AppState::new(config.server, db, iam, clock), listeners, shutdown).await;
    tracing::info!("stopped");
    Ok(())
}

/// Cancelled by the first SIGTERM or SIGINT; a second one ends the process at once.
fn on_signal() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        token.cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(130);
    });
    Ok(shutdown)
}
