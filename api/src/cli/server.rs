//! Serving: everything is put together here, once.

use std::{io, time::Duration};

use bulkhead_iam::{
    Iam,
    audit_log::Checkpoints,
    sessions::watch::Watch,
    signing_keys::{SigningKeyError, Vault, service as signing_keys},
    tokens::Keys,
};
use bulkhead_kernel::{
    clock::Clock,
    config::Section,
    telemetry::{self, metrics},
};
use bulkhead_tenancy::Db;
use bulkhead_tenants::archives::Archives;
use bulkhead_traffic::{Redis, SignInThrottle};
use bulkhead_webhooks::Webhooks;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::CliError;
use crate::{
    AppState, Listeners, Throttles,
    state::{Folders, Rules},
};

const NEEDED: &[Section] = &[
    Section::Server,
    Section::Database,
    Section::Redis,
    Section::Auth,
    Section::Tenants,
    Section::Outbound,
    Section::Webhooks,
    Section::Archives,
    Section::Audit,
    Section::Telemetry,
];

/// Between two looks at the signing keys.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// Serves until somebody says stop and the requests in flight are answered.
pub(super) async fn serve() -> Result<(), CliError> {
    let config = super::config(NEEDED)?;
    let _metrics = metrics::install();
    let _telemetry = telemetry::init(&config.telemetry, "bulkhead-api")?;
    let clock = Clock::system();
    let keys = Keys::load(&config.auth.keys_dir)?;
    let db = Db::new(&config.database)?;
    let limits = config.auth.clone();
    let redis = Redis::start(&config.redis)?;
    let vault = Vault::new(&config.auth, &keys);
    let rules = Rules {
        server: config.server,
        tenants: config.tenants,
        webhooks: Webhooks::new(config.webhooks, &config.outbound, vault),
    };
    let iam = Iam::new(db.clone(), keys, config.auth, clock.clone())?;
    begin_with_keys(&iam).await?;
    redis.settled().await;
    let secret = iam.tokens.derive_secret("sign-in throttle");
    let throttle = |limits| SignInThrottle::new(redis.clone(), limits, &secret);
    let throttles = Throttles {
        sign_in: throttle(limits.sign_in),
        mails: throttle(limits.mails).counting("mails"),
        links: throttle(limits.link_calls).counting("links"),
        resends: throttle(limits.resends).counting("resends"),
    };
    let (public, internal) = (rules.server.listen, rules.server.internal_listen);
    let refused = |error| CliError::Listen(public, internal, error);
    let listeners = Listeners::bind(public, internal).await.map_err(refused)?;
    let (public, internal) = listeners.addresses().map_err(refused)?;
    let folders = Folders {
        archives: Archives::new(&config.archives),
        checkpoints: Checkpoints::new(&config.audit.checkpoints_dir),
    };
    let shutdown = on_signal().map_err(CliError::Signals)?;
    tracing::info!(%public, %internal, "listening");
    let state = AppState::new(rules, db, iam, throttles, folders, clock);
    let following = tokio::spawn(follow_home(state.clone()));
    crate::serve(state, listeners, shutdown).await;
    following.abort();
    tracing::info!("stopped");
    Ok(())
}

/// A database that does not answer yet keeps nobody from starting: until it does, the key files do.
async fn begin_with_keys(iam: &Iam) -> Result<(), CliError> {
    match signing_keys::follow(iam).await {
        Err(SigningKeyError::Database(error)) => tracing::warn!(%error, "begins with the keys of the files"),
        followed => followed?,
    }
    Ok(())
}

/// A key that was announced is known here long before it signs, and a session that ended, before home might go away.
async fn follow_home(state: AppState) {
    let mut watch = Watch::new(state.clock());
    loop {
        tokio::time::sleep(FOLLOW_EVERY).await;
        if let Err(error) = watch.follow(state.iam()).await {
            tracing::warn!(%error, "home does not tell which sessions ended");
        }
        if let Err(error) = signing_keys::follow(state.iam()).await {
            tracing::warn!(%error, "the signing keys stay as they were");
        }
    }
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
