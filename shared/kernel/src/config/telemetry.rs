//! `[telemetry]`: logs and traces.

use tracing_subscriber::filter::Targets;

use super::reader::SectionReader;

/// How an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// One line for people.
    Text,
}

/// What is logged and traced.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// A level, or a list of levels per module.
    pub log_level: Targets,
    /// How events are written.
    pub log_format: LogFormat,
    /// Base URL of the collector, without a slash at its end; None means no traces.
    pub otlp_endpoint: Option<String>,
    /// `service.namespace` of traces.
    pub service_namespace: String,
}

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

impl Telemetry {
    pub(super) fn read(section: &mut SectionReader<'_, '_>) -> Self {
        Self {
            log_level: log_level(section),
            log_format: section.choice("log_format", &[("json", LogFormat::Json), ("text", LogFormat::Text)]),
            otlp_endpoint: Some(section.base_url("otlp_endpoint", &["http"])).filter(|url| !url.is_empty()),
            service_namespace: section.some_text("service_namespace"),
        }
    }
}

/// The filter takes a misspelt level for the name of a module, so levels that stand alone are checked here.
fn log_level(section: &mut SectionReader<'_, '_>) -> Targets {
    let text = section.text("log_level");
    let is_level = |directive: &str| directive.contains('=') || LEVELS.contains(&directive);
    let filter = text.parse().ok();
    let filter = filter.filter(|_| text.split(',').map(str::trim).all(is_level));
    filter.unwrap_or_else(|| {
        section.refuse(
            "log_level",
            format!(
                "must be {}, also per module as in info,bulkhead_jobs=debug",
                LEVELS.join(", ")
            ),
        );
        Targets::new()
    })
}
