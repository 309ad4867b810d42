use std::{
    io::{BufRead as _, BufReader, Read as _, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use tracing::{dispatcher, info, info_span};
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::config::{Config, ConfigSource, LogFormat, Section};

fn settings() -> Telemetry {
    let config = Config::load_for(ConfigSource::default(), &[Section::Telemetry]);
    config.unwrap_or_else(|mistakes| panic!("{mistakes}")).telemetry
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Lines {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

/// The head and the body of the first request that comes in.
fn read_request(stream: &TcpStream) -> (String, Vec<u8>) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while reader.read_line(&mut head).unwrap() > 2 {}
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    (head, body)
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn endpoint(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn an_event_is_one_line_with_its_fields_and_those_of_its_spans() {
    let lines = Lines::default();
    dispatcher::with_default(&log::dispatch(&settings(), lines.clone(), None), || {
        let span = info_span!("http.request", { fields::REQUEST_ID } = "r-1");
        span.in_scope(|| {
            info!(
                { fields::TENANT_ID } = "org_1",
                { fields::DURATION_MS } = 5,
                "two\nlines"
            );
        });
        tracing::debug!("not at this level");
    });
    let text = lines.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    let event: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(event["tenant.id"], "org_1");
    assert_eq!(event["duration_ms"], 5);
    assert_eq!(event["message"], "two\nlines");
    assert_eq!(event["spans"][0]["request.id"], "r-1");
}

#[test]
fn text_is_one_line_as_well() {
    let lines = Lines::default();
    let settings = Telemetry {
        log_format: LogFormat::Text,
        ..settings()
    };
    dispatcher::with_default(&log::dispatch(&settings, lines.clone(), None), || info!("hello"));
    assert_eq!(lines.text().lines().count(), 1, "{}", lines.text());
    assert!(serde_json::from_str::<serde_json::Value>(&lines.text()).is_err());
}

#[test]
fn spans_reach_the_collector_at_the_latest_when_the_guard_is_dropped() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let provider = collector::provider(&endpoint(&listener), "bulkhead", "bulkhead-test").unwrap();
    let (requests, received) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        requests.send(read_request(&stream)).unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .unwrap();
    });
    let dispatch = log::dispatch(&settings(), Lines::default(), Some(provider.tracer("test")));
    dispatcher::with_default(&dispatch, || info_span!("vm.create").in_scope(|| ()));
    drop(Guard(Some(provider)));
    let (head, body) = received.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/x-protobuf"), "{head}");
    for text in ["vm.create", "bulkhead-test", "service.namespace"] {
        assert!(contains(&body, text), "{text} is not in the export");
    }
}

#[test]
fn a_collector_that_never_answers_holds_up_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let provider = collector::provider(&endpoint(&listener), "bulkhead", "bulkhead-test").unwrap();
    let dispatch = log::dispatch(&settings(), Lines::default(), Some(provider.tracer("test")));
    let start = Instant::now();
    dispatcher::with_default(&dispatch, || {
        for _ in 0..5000 {
            info_span!("http.request").in_scope(|| ());
        }
    });
    assert!(
        start.elapsed() < Duration::from_millis(1900),
        "spans waited: {:?}",
        start.elapsed()
    );
    drop(Guard(Some(provider)));
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "the end waited: {:?}",
        start.elapsed()
    );
}

#[test]
fn trace_context_is_carried_over() {
    const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let provider = SdkTracerProvider::builder().build();
    let dispatch = log::dispatch(&settings(), Lines::default(), Some(provider.tracer("test")));
    dispatcher::with_default(&dispatch, || {
        assert_eq!(trace::current_traceparent(), None);
        let span = info_span!("http.request");
        trace::set_parent(&span, CALLER);
        let traceparent = span.in_scope(trace::current_traceparent).unwrap();
        assert_eq!((&traceparent[..36], &traceparent[52..]), (&CALLER[..36], "-01"));
        assert_ne!(traceparent[36..52], CALLER[36..52], "a span of its own");

        let job = info_span!("job.run");
        trace::link(&job, CALLER);
        let traceparent = trace::traceparent_of(&job).unwrap();
        assert_ne!(traceparent[..36], CALLER[..36], "a link is a trace of its own");
    });
}

#[test]
fn malformed_trace_context_is_ignored() {
    let provider = SdkTracerProvider::builder().build();
    let dispatch = log::dispatch(&settings(), Lines::default(), Some(provider.tracer("test")));
    dispatcher::with_default(&dispatch, || {
        let zeros = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        for text in ["", "00", zeros, "00-4bf92f35-00f067aa0ba902b7-01", "\u{1F600}"] {
            let span = info_span!("http.request");
            trace::set_parent(&span, text);
            trace::link(&span, text);
            assert!(
                trace::traceparent_of(&span).is_some_and(|own| !own.contains("00f067aa0ba902b7")),
                "{text:?}"
            );
        }
    });
}

#[test]
fn without_a_tracer_there_is_no_trace_context() {
    dispatcher::with_default(&log::dispatch(&settings(), Lines::default(), None), || {
        let span = info_span!("http.request");
        trace::set_parent(&span, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        assert_eq!(span.in_scope(trace::current_traceparent), None);
    });
}

#[test]
fn metrics_are_rendered_with_buckets_and_bounded_labels() {
    let handle = metrics::install();
    metrics::http_request_duration("/api/v1/vms", "GET", 200).record(0.004);
    metrics::http_request_duration("/api/v1/vms", "BREW", 405).record(0.004);
    metrics::http_active_requests().increment(1.0);
    metrics::db_pool_in_use("tenant").set(3.0);
    metrics::db_pool_waiters("tenant").set(0.0);
    metrics::db_acquire("tenant").record(0.0001);
    metrics::job_run("tenants.onboard", "provision", "done").record(42.0);
    metrics::jobs_rescued("tenants.onboard", "provision").increment(1);
    let again = metrics::install().render();
    assert!(
        again.contains("jobs_rescued_total{"),
        "one set per process, in\n{again}"
    );
    let text = handle.render();
    for line in [
        r#"http_server_request_duration_seconds_bucket{route="/api/v1/vms",method="GET",status="200",le="0.005"} 1"#,
        r#"http_server_request_duration_seconds_count{route="/api/v1/vms",method="_OTHER",status="405"} 1"#,
        "http_server_active_requests 1",
        r#"db_pool_in_use{pool="tenant"} 3"#,
        r#"db_pool_waiters{pool="tenant"} 0"#,
        r#"db_acquire_seconds_bucket{pool="tenant",le="0.0005"} 1"#,
        r#"job_run_seconds_bucket{kind="tenants.onboard",queue="provision",outcome="done",le="60"} 1"#,
        r#"jobs_rescued_total{kind="tenants.onboard",queue="provision"} 1"#,
        "# HELP db_acquire_seconds Wait for a connection to the database.",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn field_names_are_distinct() {
    let distinct: std::collections::BTreeSet<_> = fields::ALL.iter().collect();
    assert_eq!(distinct.len(), fields::ALL.len());
}
