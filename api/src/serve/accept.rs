//! One accept loop over hyper: a cap on connections, a deadline for every request head and every write, a graceful end.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, extract::connect_info::ConnectInfo};
use bulkhead_kernel::config;
use futures_util::FutureExt as _;
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::deadline::Deadlined;

/// A request head larger than this is refused by hyper with 431.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// How long to leave the listener alone after it could not give us a connection (no descriptors left, as a rule).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What connections may cost.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections open at once; more wait in the backlog of the listener.
    pub max_connections: usize,
    /// From the first byte (or the last answer) to the end of the next request head.
    pub header_timeout: Duration,
    /// From the last byte that a caller took of an answer to the next.
    pub write_timeout: Duration,
    /// From the shutdown to the end of the last request.
    pub shutdown_grace: Duration,
}

impl Limits {
    /// The configured limits.
    #[must_use]
    pub fn of(settings: &config::Server) -> Self {
        Self {
            max_connections: settings.max_connections,
            header_timeout: settings.header_timeout,
            write_timeout: settings.write_timeout,
            shutdown_grace: settings.shutdown_grace,
        }
    }
}

/// Serves `router` on `listener` until `shutdown`, then drains.
pub(super) async fn run(listener: TcpListener, router: Router, limits: &Limits, shutdown: &CancellationToken) {
    let door = Door::new(router, limits, shutdown);
    while let Some(place) = shutdown.run_until_cancelled(door.place()).await {
        match shutdown.run_until_cancelled(listener.accept()).await {
            Some(Ok((stream, peer))) => door.admit(stream, peer, place),
            Some(Err(error)) => {
                tracing::warn!(target: "http.accept", error = %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            None => break,
        }
    }
    // Who is in the backlog has been told by the kernel that we are there, so it gets an answer.
    while let (Some(Ok((stream, peer))), Some(place)) = (listener.accept().now_or_never(), door.place().now_or_never())
    {
        door.admit(stream, peer, place);
    }
    drop(listener);
    door.close(limits.shutdown_grace).await;
}

/// Admits connections up to the cap and knows which are still there.
struct Door {
    http: http1::Builder,
    service: TowerToHyperService<Router>,
    write_timeout: Duration,
    places: Arc<Semaphore>,
    connections: TaskTracker,
    soft_stop: CancellationToken,
    hard_stop: CancellationToken,
}

impl Door {
    fn new(router: Router, limits: &Limits, shutdown: &CancellationToken) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(MAX_HEAD_BYTES);
        Self {
            http,
            service: TowerToHyperService::new(router),
            write_timeout: limits.write_timeout,
            places: Arc::new(Semaphore::new(limits.max_connections)),
            connections: TaskTracker::new(),
            soft_stop: shutdown.clone(),
            hard_stop: CancellationToken::new(),
        }
    }

    /// A free place, as soon as there is one; `None` cannot happen, as the semaphore is never closed.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, place: Option<OwnedSemaphorePermit>) {
        // Small answers must not wait for an acknowledgement; where the option is missing they do, and still arrive.
        let _ = stream.set_nodelay(true);
        let service = self.service.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            service.call(request)
        });
        let stream = TokioIo::new(Deadlined::new(stream, self.write_timeout));
        let connection = self.http.serve_connection(stream, service);
        let (soft_stop, hard_stop) = (self.soft_stop.clone(), self.hard_stop.clone());
        self.connections.spawn(async move {
            let mut connection = pin!(connection);
            // How a connection ends is the caller's affair: resets and timeouts are no news. The stop is looked at
            // first, so that an answer given after it says that it is the last.
            tokio::select! {
                biased;
                () = soft_stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = hard_stop.run_until_cancelled(connection).await;
                }
                _ = connection.as_mut() => {}
            }
            drop(place);
        });
    }

    /// Lets the requests in flight end by themselves, then ends them.
    async fn close(self, grace: Duration) {
        self.connections.close();
        if tokio::time::timeout(grace, self.connections.wait()).await.is_err() {
            let left = self.connections.len();
            tracing::warn!(target: "http.accept", left, "requests cut off at the end of the time of grace");
            self.hard_stop.cancel();
            self.connections.wait().await;
        }
    }
}
