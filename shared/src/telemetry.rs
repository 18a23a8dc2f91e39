//! Logs and metrics: how they leave the process. What they say is for those who say it.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// The upper bounds of every histogram's buckets: all of them measure seconds.
const SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0];

/// How to log.
#[derive(Args, Clone, Debug)]
pub struct LogConfig {
    /// What to log: a level, or target=level pairs separated by commas
    #[arg(
        long,
        env = "ORCHESTRATION_LOG",
        default_value = "info,tokio_cron_scheduler=warn,librdkafka=error,rdkafka=off"
    )]
    pub log: String,

    /// How to write the log
    #[arg(long, env = "ORCHESTRATION_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// Starts logging to standard error.
///
/// # Errors
/// When the filter cannot be read, in one sentence.
pub fn start_logging(config: &LogConfig) -> Result<(), String> {
    let filter = EnvFilter::try_new(&config.log)
        .map_err(|error| format!("--log (ORCHESTRATION_LOG) is not a log filter: {error}"))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let started = match config.log_format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| format!("Logging could not be started: {error}"))
}

/// Starts collecting metrics; the handle renders them as Prometheus text.
///
/// # Errors
/// When a recorder is already installed in this process.
pub fn start_metrics() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new().set_buckets(&SECONDS)?.install_recorder()
}
