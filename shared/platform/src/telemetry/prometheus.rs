//! The Prometheus recorder, and the metrics that both binaries have.

use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::process;
use crate::periodic::Periodic;

/// The upper bounds of the buckets of all histograms, in seconds.
const BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0];
/// How often samples are folded into buckets, so that they do not accumulate between scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// What happens to a gauge that is no longer set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GaugeTtl {
    /// It keeps its last value.
    Never,
    /// It is dropped after this idle time. Use this only if every gauge is set more often.
    After(Duration),
}

/// Installs the recorder and starts its upkeep task. [`render_metrics`] reads it.
///
/// # Errors
/// When a recorder is already installed in this process.
pub fn start_metrics(binary: &'static str, gauge_ttl: GaugeTtl) -> Result<PrometheusHandle, BuildError> {
    let builder = PrometheusBuilder::new().set_buckets(&BUCKETS)?;
    let builder = match gauge_ttl {
        GaugeTtl::Never => builder,
        GaugeTtl::After(idle) => builder.idle_timeout(MetricKindMask::GAUGE, Some(idle)),
    };
    let recorder = builder.install_recorder()?;
    describe();
    tokio::spawn(run_upkeep(recorder.clone(), binary));
    Ok(recorder)
}

async fn run_upkeep(recorder: PrometheusHandle, binary: &'static str) {
    let mut ticks = Periodic::new(UPKEEP_INTERVAL, CancellationToken::new());
    while ticks.next().await {
        let version = env!("CARGO_PKG_VERSION");
        metrics::gauge!("orchestration_build_info", "binary" => binary, "version" => version).set(1);
        recorder.run_upkeep();
    }
}

fn describe() {
    describe_gauge!("orchestration_build_info", "1, with the program and its version");
    describe_gauge!("orchestration_database_connections", "Open connections to PostgreSQL");
    describe_gauge!("orchestration_database_connections_idle", "Idle connections to PostgreSQL");
    describe_gauge!(
        "orchestration_database_connections_max",
        "Maximum number of open connections to PostgreSQL"
    );
    describe_counter!(
        "orchestration_source_requests_total",
        Unit::Count,
        "Requests sent to providers, by the HTTP status of the response; none without a response"
    );
}

/// Renders all metrics as Prometheus text.
pub fn render_metrics(recorder: &PrometheusHandle, pool: &PgPool) -> String {
    metrics::gauge!("orchestration_database_connections").set(pool.size());
    metrics::gauge!("orchestration_database_connections_idle").set(pool.num_idle() as f64);
    metrics::gauge!("orchestration_database_connections_max").set(pool.options().get_max_connections());
    recorder.render() + &process::metrics()
}
