//! The listener for operators: probes and metrics. Not for the outside.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bulkhead_jobs::Health;
use bulkhead_kernel::telemetry::metrics::Metrics;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use serde::Serialize;
use tokio::{net::TcpListener, time::timeout};

/// For one connection, however slowly it speaks.
const CONNECTION: Duration = Duration::from_secs(30);

/// For the head of a request.
const HEADER: Duration = Duration::from_secs(5);

/// What the answers are made from.
#[derive(Clone)]
pub(crate) struct Probes {
    /// Of each cluster.
    pub(crate) jobs: Vec<Health>,
    pub(crate) metrics: Metrics,
}

#[derive(Serialize)]
struct Alive {
    status: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct Ready {
    is_ready: bool,
    reasons: Vec<&'static str>,
}

/// All routes of this listener.
pub(crate) fn router(probes: Probes) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(probes)
}

async fn livez() -> Json<Alive> {
    Json(Alive {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
    })
}

async fn readyz(State(probes): State<Probes>) -> (StatusCode, Json<Ready>) {
    let is_ready = probes.jobs.iter().all(Health::is_ready);
    let (status, reasons) = if is_ready {
        (StatusCode::OK, vec![])
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, vec!["the worker takes no jobs"])
    };
    (status, Json(Ready { is_ready, reasons }))
}

async fn metrics(State(probes): State<Probes>) -> Response {
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (content_type, probes.metrics.render()).into_response()
}

/// Answers as long as it is polled; who is slow is cut off.
pub(crate) async fn run(listener: TcpListener, router: Router) {
    loop {
        let accepted = listener.accept().await;
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, most likely: give some time to get them back.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        tokio::spawn(async move {
            // Whatever ends it is the other side's affair.
            let _ = timeout(CONNECTION, connection).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use bulkhead_kernel::telemetry;
    use tower::ServiceExt;

    use super::*;

    async fn status(path: &str) -> StatusCode {
        let probes = Probes {
            jobs: vec![Health::default()],
            metrics: telemetry::metrics::install(),
        };
        let request = Request::get(path).body(Body::empty()).unwrap();
        router(probes).oneshot(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn a_worker_whose_loop_does_not_run_is_alive_and_not_ready() {
        assert_eq!(status("/livez").await, StatusCode::OK);
        assert_eq!(status("/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status("/metrics").await, StatusCode::OK);
        assert_eq!(status("/jobs").await, StatusCode::NOT_FOUND);
    }
}
