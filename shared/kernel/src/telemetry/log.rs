//! Who hears of an event: the log, and the tracer where there is one.

use opentelemetry_sdk::trace::SdkTracer;
use tracing::{Dispatch, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, Registry,
    fmt::{self, MakeWriter},
    layer::SubscriberExt as _,
    registry::LookupSpan,
};

use crate::config::{LogFormat, Telemetry};

/// The log level bounds the log only: with a tracer, spans of level info exist at any level of the log.
pub(super) fn dispatch<W>(settings: &Telemetry, writer: W, tracer: Option<SdkTracer>) -> Dispatch
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = settings.log_level.clone();
    let Some(tracer) = tracer else {
        let log = format(settings.log_format, writer);
        return Dispatch::new(Registry::default().with(filter).with(log));
    };
    let log = format(settings.log_format, writer).with_filter(filter);
    let spans = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(LevelFilter::INFO);
    Dispatch::new(Registry::default().with(log).with(spans))
}

fn format<S, W>(format: LogFormat, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(writer).with_ansi(false);
    match format {
        LogFormat::Json => layer
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(true)
            .boxed(),
        LogFormat::Text => layer.boxed(),
    }
}
