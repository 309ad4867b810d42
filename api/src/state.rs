//! What every request shares; made once at start, cheap to clone.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::extract::FromRef;
use bulkhead_iam::{Iam, audit_log::Checkpoints};
use bulkhead_kernel::{
    clock::Clock,
    config,
    telemetry::metrics::{self, Metrics},
};
use bulkhead_tenancy::Db;
use bulkhead_tenants::archives::Archives;
use bulkhead_traffic::SignInThrottle;
use bulkhead_webhooks::Webhooks;

/// Everything a handler may reach.
#[derive(Clone)]
pub struct AppState(Arc<Parts>);

struct Parts {
    rules: Rules,
    db: Db,
    iam: Iam,
    throttles: Throttles,
    folders: Folders,
    clock: Clock,
    metrics: Metrics,
    readiness: Readiness,
}

/// What calls are held to.
pub struct Rules {
    /// The settings of the listeners.
    pub server: config::Server,
    /// How tenants come and go.
    pub tenants: config::Tenants,
    /// What webhooks may be.
    pub webhooks: Webhooks,
}

/// What all processes share beside the database.
pub struct Folders {
    /// Archives of tenants.
    pub archives: Archives,
    /// Checkpoints of audit logs.
    pub checkpoints: Checkpoints,
}

/// What one request may cost.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// The largest body.
    pub max_body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How long the whole request may take.
    pub request_timeout: Duration,
}

impl RequestLimits {
    /// The configured limits.
    #[must_use]
    pub fn of(settings: &config::Server) -> Self {
        Self {
            max_body_bytes: settings.max_body_bytes,
            body_timeout: settings.body_timeout,
            request_timeout: settings.request_timeout,
        }
    }
}

/// What may be tried only so often.
pub struct Throttles {
    /// Wrong passwords.
    pub sign_in: SignInThrottle,
    /// Mails that somebody asks for.
    pub mails: SignInThrottle,
    /// Links and keys that somebody presents without being signed in.
    pub links: SignInThrottle,
    /// Mails for invitations that are sent again.
    pub resends: SignInThrottle,
}

impl FromRef<AppState> for RequestLimits {
    fn from_ref(state: &AppState) -> Self {
        Self::of(state.server())
    }
}

impl AppState {
    /// The state of a process with these rules and parts.
    #[must_use]
    pub fn new(rules: Rules, db: Db, iam: Iam, throttles: Throttles, folders: Folders, clock: Clock) -> Self {
        Self(Arc::new(Parts {
            rules,
            db,
            iam,
            throttles,
            folders,
            clock,
            metrics: metrics::install(),
            readiness: Readiness::default(),
        }))
    }

    /// The settings of the listeners.
    #[must_use]
    pub fn server(&self) -> &config::Server {
        &self.0.rules.server
    }

    /// How tenants come and go.
    #[must_use]
    pub fn tenants(&self) -> &config::Tenants {
        &self.0.rules.tenants
    }

    /// What webhooks may be.
    #[must_use]
    pub fn webhooks(&self) -> &Webhooks {
        &self.0.rules.webhooks
    }

    /// The way to the data.
    #[must_use]
    pub fn db(&self) -> &Db {
        &self.0.db
    }

    /// Who people are and what lets them in.
    #[must_use]
    pub fn iam(&self) -> &Iam {
        &self.0.iam
    }

    /// How often signing in may fail.
    #[must_use]
    pub fn throttles(&self) -> &Throttles {
        &self.0.throttles
    }

    /// Where archives of tenants lie.
    #[must_use]
    pub fn archives(&self) -> &Archives {
        &self.0.folders.archives
    }

    /// Where the checkpoints of audit logs lie.
    #[must_use]
    pub fn checkpoints(&self) -> &Checkpoints {
        &self.0.folders.checkpoints
    }

    /// The time.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// The metrics of this process.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Whether a load balancer should send requests here.
    #[must_use]
    pub fn readiness(&self) -> &Readiness {
        &self.0.readiness
    }
}

impl fmt::Debug for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppState").finish_non_exhaustive()
    }
}

/// Whether this process takes requests. It never asks the database: one sick dependency must not take every process out
/// of the load balancer at once.
#[derive(Debug, Default)]
pub struct Readiness {
    is_draining: AtomicBool,
}

impl Readiness {
    /// From now on the process is going away.
    pub fn drain(&self) {
        self.is_draining.store(true, Relaxed);
    }

    /// Whether the process is going away.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Relaxed)
    }

    /// Why not, in words; empty when it is ready.
    #[must_use]
    pub fn reasons(&self) -> Vec<&'static str> {
        if self.is_draining() {
            vec!["draining"]
        } else {
            Vec::new()
        }
    }
}
