//! Serving: everything is put together here, once.

use std::io;

use bulkhead_iam::{Iam, audit_log::Checkpoints, tokens::Keys};
use bulkhead_kernel::{
    clock::Clock,
    config::Section,
    telemetry::{self, metrics},
};
use bulkhead_tenancy::Db;
use bulkhead_tenants::archives::Archives;
use bulkhead_traffic::{Redis, SignInThrottle};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::CliError;
use crate::{AppState, Listeners, state::Folders};

const NEEDED: &[Section] = &[
    Section::Server,
    Section::Database,
    Section::Redis,
    Section::Auth,
    Section::Tenants,
    Section::Archives,
    Section::Audit,
    Section::Telemetry,
];

/// Serves until somebody says stop and the requests in flight are answered.
pub(super) async fn serve() -> Result<(), CliError> {
    let config = super::config(NEEDED)?;
    let _metrics = metrics::install();
    let _telemetry = telemetry::init(&config.telemetry, "bulkhead-api")?;
    let clock = Clock::system();
    let keys = Keys::load(&config.auth.keys_dir)?;
    let db = Db::new(&config.database)?;
    let limits = config.auth.sign_in;
    let redis = Redis::start(&config.redis)?;
    let iam = Iam::new(db.clone(), keys, config.auth, clock.clone())?;
    redis.settled().await;
    let throttle = SignInThrottle::new(redis, limits, &iam.tokens.derive_secret("sign-in throttle"));
    let (public, internal) = (config.server.listen, config.server.internal_listen);
    let refused = |error| CliError::Listen(public, internal, error);
    let listeners = Listeners::bind(public, internal).await.map_err(refused)?;
    let (public, internal) = listeners.addresses().map_err(refused)?;
    let folders = Folders {
        archives: Archives::new(&config.archives),
        checkpoints: Checkpoints::new(&config.audit.checkpoints_dir),
    };
    let shutdown = on_signal().map_err(CliError::Signals)?;
    tracing::info!(%public, %internal, "listening");
    crate::serve(
        AppState::new(config.server, config.tenants, db, iam, throttle, folders, clock),
        listeners,
        shutdown,
    )
    .await;
    tracing::info!("stopped");
    Ok(())
}

/// Cancelled by the first SIGTERM or SIGINT; a second one ends the process at once.
fn on_signal() -> io::Result<CancellationToken> {
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
