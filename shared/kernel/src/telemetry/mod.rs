//! What a process says about itself: one JSON line per event, metrics for Prometheus, traces for OpenTelemetry.
//!
//! Invariants: fields are named after [`fields`] only and metrics are made by [`metrics`] only; without a collector
//! nothing is traced and nothing is paid for it; a collector that is slow or dead never holds up a request, spans are
//! dropped instead. Absent: tenant ids as labels of metrics, secrets and bodies anywhere.

mod collector;
pub mod fields;
mod log;
pub mod metrics;
#[cfg(test)]
mod tests;
pub mod trace;

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::trace::SdkTracerProvider;

use crate::config::Telemetry;

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Something else takes this process's events.
    #[error("events of this process are already taken")]
    AlreadyInstalled,
    /// The exporter of traces does not take its settings.
    #[error("traces cannot be exported")]
    Exporter(#[source] ExporterBuildError),
}

/// Keeps telemetry going; when it is dropped, spans not yet exported are, for which it blocks at most three seconds.
#[must_use = "traces end when the guard is dropped"]
#[derive(Debug)]
pub struct Guard(Option<SdkTracerProvider>);

const SHUTDOWN: Duration = Duration::from_secs(3);

/// Takes all events of this process from here on. `service` is what traces carry as `service.name`.
pub fn init(settings: &Telemetry, service: &'static str) -> Result<Guard, TelemetryError> {
    let provider = match &settings.otlp_endpoint {
        Some(endpoint) => Some(
            collector::provider(endpoint, &settings.service_namespace, service).map_err(TelemetryError::Exporter)?,
        ),
        None => None,
    };
    let tracer = provider.as_ref().map(|provider| provider.tracer(service));
    let dispatch = log::dispatch(settings, std::io::stdout, tracer);
    tracing::dispatcher::set_global_default(dispatch).map_err(|_| TelemetryError::AlreadyInstalled)?;
    Ok(Guard(provider))
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = self.0.take()
            && let Err(error) = provider.shutdown_with_timeout(SHUTDOWN)
        {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}
