//! Export of traces: OTLP over HTTP with protobuf bodies, in batches, from a thread that nothing waits for.

use std::{io, time::Duration};

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use opentelemetry::KeyValue;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tokio::{net::TcpStream, runtime::Builder, time::timeout};

/// For one export with its retries; less than the shutdown waits.
const EXPORT: Duration = Duration::from_secs(2);

/// The most of an answer that is read; it is a few bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// A provider of tracers that export to `endpoint`, the base URL of a collector.
pub(super) fn provider(
    endpoint: &str,
    namespace: &str,
    service: &str,
) -> Result<SdkTracerProvider, ExporterBuildError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client)
        .with_endpoint(format!("{endpoint}/v1/traces"))
        .with_timeout(EXPORT)
        .build()?;
    let resource = Resource::builder()
        .with_service_name(service.to_owned())
        .with_attribute(KeyValue::new("service.namespace", namespace.to_owned()))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build())
}

/// One connection per export. The exporter's thread has no runtime, and the process's own must not be needed: it may be
/// busy, or already gone when the last spans are sent.
#[derive(Debug)]
struct Client;

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let answer = runtime.block_on(async { timeout(EXPORT, send(request)).await });
        // A name server that does not answer would hold up an ordinary drop.
        runtime.shutdown_background();
        answer?
    }
}

async fn send(mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let uri = std::mem::take(request.uri_mut());
    let authority = uri
        .authority()
        .ok_or(io::ErrorKind::InvalidInput)
        .map_err(io::Error::from)?;
    request.headers_mut().insert(HOST, authority.as_str().parse()?);
    *request.uri_mut() = uri.path().parse()?;
    let host = authority.host().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let (head, body) = sender.send_request(request.map(Full::new)).await?.into_parts();
    let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await?.to_bytes();
    connection.abort();
    Ok(Response::from_parts(head, body))
}
