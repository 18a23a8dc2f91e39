//! Set-up of logs, metrics and traces: formats, filters and exporters.

#[cfg(feature = "otlp")]
pub(crate) mod otlp;
mod process;
mod prometheus;

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
pub use prometheus::{GaugeTtl, render_metrics, start_metrics};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};
use url::Url;

/// How to log.
#[derive(Args, Clone, Debug)]
pub struct LogConfig {
    /// Log filter: a level, or target=level pairs separated by commas
    #[arg(
        long,
        env = "ORCHESTRATION_LOG",
        default_value = "info,tokio_cron_scheduler=warn,librdkafka=error,rdkafka=off"
    )]
    pub log: String,

    /// Format of log lines
    #[arg(long, env = "ORCHESTRATION_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// URL of an OpenTelemetry collector that receives traces over HTTP, such as http://collector:4318
    #[arg(long, env = "ORCHESTRATION_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<Url>,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Plain text for a terminal.
    Text,
    /// One JSON object per line, for log collectors.
    Json,
}

/// Keeps logging alive. Dropping it sends the spans that are still in the buffer.
#[must_use]
pub struct Logging {
    #[cfg(feature = "otlp")]
    _exporter: Option<otlp::Exporter>,
}

/// Starts logging to standard error, and the export of traces if a collector is configured.
///
/// # Errors
/// When a setting is invalid; the text names it.
pub fn start_logging(config: &LogConfig, program: &'static str) -> Result<Logging, String> {
    let filter = EnvFilter::try_new(&config.log)
        .map_err(|error| format!("--log (ORCHESTRATION_LOG) is not a log filter: {error}"))?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = match config.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    };
    let (exporter, spans) = exporter(config, program)?;
    let layers: Vec<_> = std::iter::once(lines).chain(spans).collect();
    let started = tracing_subscriber::registry().with(layers).with(filter).try_init();
    started.map_err(|error| format!("Logging could not be started: {error}"))?;
    Ok(exporter)
}

type Layers = Option<Box<dyn Layer<Registry> + Send + Sync>>;

#[cfg(feature = "otlp")]
fn exporter(config: &LogConfig, program: &'static str) -> Result<(Logging, Layers), String> {
    let Some(endpoint) = &config.otlp_endpoint else { return Ok((Logging { _exporter: None }, None)) };
    let (exporter, layer) = otlp::Exporter::start(endpoint, program)?;
    Ok((Logging { _exporter: Some(exporter) }, Some(layer)))
}

#[cfg(not(feature = "otlp"))]
fn exporter(config: &LogConfig, _: &'static str) -> Result<(Logging, Layers), String> {
    match config.otlp_endpoint {
        None => Ok((Logging {}, None)),
        Some(_) => Err("--otlp-endpoint (ORCHESTRATION_OTLP_ENDPOINT) needs a program that was built with \
                        `--features otlp`, as the release image is"
            .to_owned()),
    }
}
