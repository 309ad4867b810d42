//! The floor of everything that speaks HTTP here: axum with one route, on as many threads as the API has.

use std::net::SocketAddr;

use axum::{Router, routing::get};

/// The threads of the bare server.
const THREADS: usize = 2;

/// Serves until the process is killed.
pub(crate) fn serve(listen: SocketAddr) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        let router = Router::new().route("/health", get(async || "hello"));
        axum::serve(listener, router).await?;
        Ok(())
    })
}
