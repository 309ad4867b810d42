//! Runs the two listeners: the public API, and the internal one for metrics and probes.
//!
//! On shutdown the public listener answers who is already in its backlog and then closes; `/readyz` says no, requests in
//! flight get their time of grace, and the internal listener goes last, so that the drain can be watched.

mod accept;

use std::{io, net::SocketAddr};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use accept::Limits;

use crate::{router, state::AppState};

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
    let drained = CancellationToken::new();
    let public = async {
        accept::run(listeners.public, router::build(state.clone()), &limits, &shutdown).await;
        drained.cancel();
    };
    let internal = accept::run(listeners.internal, router::internal(state.clone()), &limits, &drained);
    let unready = async {
        shutdown.cancelled().await;
        state.readiness().drain();
    };
    tokio::join!(public, internal, unready);
}

#[cfg(test)]
mod tests;
