//! Runs the two listeners: the public API, and the internal one for metrics and probes.
//!
//! On shutdown `/readyz` says no, and half a second later the public listener answers who is already in its backlog and
//! closes; requests in flight get their time of grace, and the internal listener goes last, so that the drain can be
//! watched.

mod accept;
mod deadline;

use std::{io, net::SocketAddr, time::Duration};

use bulkhead_iam::api_keys;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use accept::Limits;

use crate::{router, state::AppState};

/// From the moment `/readyz` says no to the end of the public listener: who was told yes just before is on the way.
const LINGER: Duration = Duration::from_millis(500);

/// The sockets a process listens on.
#[derive(Debug)]
pub struct Listeners {
    /// Where customers call.
    pub public: TcpListener,
    /// Where operators and probes look; not for the outside.
    pub internal: TcpListener,
}

impl Listeners {
    /// Binds both; port 0 takes any free one.
    pub async fn bind(public: SocketAddr, internal: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            public: TcpListener::bind(public).await?,
            internal: TcpListener::bind(internal).await?,
        })
    }

    /// Where they really listen, public first; of interest after port 0.
    pub fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.public.local_addr()?, self.internal.local_addr()?))
    }
}

/// Serves until `shutdown` is cancelled and the requests in flight are answered, or their time of grace is over.
pub async fn serve(state: AppState, listeners: Listeners, shutdown: CancellationToken) {
    let limits = Limits::of(state.server());
    let (closing, drained) = (CancellationToken::new(), CancellationToken::new());
    let public = async {
        accept::run(listeners.public, router::build(state.clone()), &limits, &closing).await;
        drained.cancel();
    };
    let internal = accept::run(listeners.internal, router::internal(state.clone()), &limits, &drained);
    let unready = async {
        shutdown.cancelled().await;
        state.readiness().drain();
        tokio::time::sleep(LINGER).await;
        closing.cancel();
    };
    let uses = write_key_uses(&state, &drained);
    tokio::join!(public, internal, unready, uses);
}

/// Between two looks whether the use of keys has to be written down.
const WRITE_KEY_USES_EVERY: Duration = Duration::from_secs(1);

/// Writes what requests noted of the keys they came with, once more when the last request is answered.
async fn write_key_uses(state: &AppState, drained: &CancellationToken) {
    let mut ticks = tokio::time::interval(WRITE_KEY_USES_EVERY);
    while drained.run_until_cancelled(ticks.tick()).await.is_some() {
        api_keys::write(state.iam()).await;
    }
    api_keys::write(state.iam()).await;
}

#[cfg(test)]
mod tests;
