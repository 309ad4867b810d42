use std::time::{Duration, Instant};

use axum::{Router, routing::get};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{Limits, accept};

const PATIENCE: Duration = Duration::from_secs(10);

struct Server {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(router: Router, limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let shutdown = stop.clone();
        let task = tokio::spawn(async move { accept::run(listener, router, &limits, &shutdown).await });
        Self { address, stop, task }
    }

    async fn connect(&self, head: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }
}

fn limits() -> Limits {
    Limits {
        max_connections: 8,
        header_timeout: Duration::from_millis(200),
        write_timeout: PATIENCE,
        shutdown_grace: PATIENCE,
    }
}

/// What the server still says before it closes; an error of the socket counts as closing.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    assert!(read.is_ok(), "the connection is still open");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn silent_and_half_spoken_connections_are_closed() {
    let server = Server::start(Router::new(), limits()).await;
    for head in ["", "GET / HTTP/1.1\r\nHost: x\r\n", "GET"] {
        let mut stream = server.connect(head).await;
        rest(&mut stream).await;
    }
}

#[tokio::test]
async fn connections_over_the_cap_wait_for_a_place() {
    let router = Router::new().route("/", get(|| async { "hello" }));
    let one = Limits {
        max_connections: 1,
        header_timeout: PATIENCE,
        ..limits()
    };
    let server = Server::start(router, one).await;
    let first = server.connect("").await;
    let mut second = server
        .connect("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(200), second.read(&mut byte)).await;
    assert!(early.is_err(), "the second connection was served beside the first");
    drop(first);
    assert!(rest(&mut second).await.contains("200 OK"));
}

#[tokio::test]
async fn who_stops_reading_loses_the_connection_and_who_reads_on_keeps_it() {
    const ENDLESS: usize = 64 * 1024 * 1024;
    let router = Router::new().route("/", get(|| async { vec![b'x'; ENDLESS] }));
    let short = Limits {
        max_connections: 1,
        write_timeout: Duration::from_secs(1),
        ..limits()
    };
    let server = Server::start(router, short).await;
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let stalled = server.connect(request).await;

    // There is one place, so the second is served only when the first has lost its own.
    let mut slow = server.connect(request).await;
    let (mut taken, mut chunk) = (0, vec![0; 4 * 1024 * 1024]);
    let all = async {
        while let Ok(count @ 1..) = slow.read(&mut chunk).await {
            taken += count;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, all).await.is_ok(),
        "it is still waiting for a place"
    );
    assert!(taken > ENDLESS, "cut off after {taken} bytes");
    drop(stalled);
}

#[tokio::test]
async fn a_request_in_flight_is_answered_during_the_drain() {
    let (reached, has_reached) = oneshot::channel::<()>();
    let (release, released) = oneshot::channel::<()>();
    let ends = std::sync::Arc::new(std::sync::Mutex::new(Some((reached, released))));
    let handler = move || async move {
        let (reached, released) = ends.lock().unwrap().take().unwrap();
        reached.send(()).unwrap();
        released.await.unwrap();
        "drained"
    };
    let server = Server::start(Router::new().route("/", get(handler)), limits()).await;
    let mut stream = server.connect("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    has_reached.await.unwrap();
    server.stop.cancel();
    release.send(()).unwrap();
    let answer = rest(&mut stream).await;
    assert!(
        answer.contains("200 OK") && answer.to_lowercase().contains("connection: close"),
        "{answer}"
    );
    tokio::time::timeout(PATIENCE, server.task).await.unwrap().unwrap();
    assert!(
        TcpStream::connect(server.address).await.is_err(),
        "the listener is still open"
    );
}

#[tokio::test]
async fn a_drain_ends_with_its_grace() {
    let router = Router::new().route("/", get(std::future::pending::<()>));
    let short = Limits {
        shutdown_grace: Duration::from_millis(200),
        header_timeout: PATIENCE,
        ..limits()
    };
    let server = Server::start(router, short).await;
    let mut stream = server.connect("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    server.stop.cancel();
    let started = Instant::now();
    tokio::time::timeout(PATIENCE, server.task).await.unwrap().unwrap();
    assert!(started.elapsed() < Duration::from_secs(2));
    assert!(!rest(&mut stream).await.contains("200 OK"));
}
