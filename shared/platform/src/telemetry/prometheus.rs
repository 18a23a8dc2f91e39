//! Metrics as Prometheus text: the recorder, and what both binaries tell of themselves.

use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use sqlx::PgPool;

use super::process;

/// The upper bounds of every histogram's buckets: all of them measure seconds.
const SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0];
/// How often samples are folded into buckets: whatever nobody asks for must not pile up.
const UPKEEP: Duration = Duration::from_secs(5);

/// What becomes of a gauge that nobody sets any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GaugeTtl {
    Never,
    /// It goes, as the connector has that it told of: for a process that sets all its gauges more often than this.
    After(Duration),
}

/// Starts collecting metrics, within a runtime; [`render_metrics`] tells them.
///
/// # Errors
/// When a recorder is already installed in this process.
pub fn start_metrics(binary: &'static str, forget: GaugeTtl) -> Result<PrometheusHandle, BuildError> {
    let builder = PrometheusBuilder::new().set_buckets(&SECONDS)?;
    let builder = match forget {
        GaugeTtl::Never => builder,
        GaugeTtl::After(idle) => builder.idle_timeout(MetricKindMask::GAUGE, Some(idle)),
    };
    let recorder = builder.install_recorder()?;
    describe();
    tokio::spawn(keep(recorder.clone(), binary));
    Ok(recorder)
}

async fn keep(recorder: PrometheusHandle, binary: &'static str) {
    loop {
        metrics::gauge!("orchestration_build_info", "binary" => binary, "version" => env!("CARGO_PKG_VERSION"))
            .set(1);
        recorder.run_upkeep();
        tokio::time::sleep(UPKEEP).await;
    }
}

fn describe() {
    describe_gauge!("orchestration_build_info", "1, with the program and its version");
    describe_gauge!("orchestration_database_connections", "Connections to PostgreSQL that are open");
    describe_gauge!("orchestration_database_connections_idle", "Connections to PostgreSQL that nobody uses");
    describe_gauge!("orchestration_database_connections_max", "Connections to PostgreSQL that may be open");
    describe_counter!(
        "orchestration_source_requests_total",
        Unit::Count,
        "Requests sent to providers, by the answer's HTTP status; none where no answer came"
    );
}

/// Everything that was measured, as Prometheus text.
pub fn render_metrics(recorder: &PrometheusHandle, pool: &PgPool) -> String {
    metrics::gauge!("orchestration_database_connections").set(pool.size());
    metrics::gauge!("orchestration_database_connections_idle").set(pool.num_idle() as f64);
    metrics::gauge!("orchestration_database_connections_max").set(pool.options().get_max_connections());
    recorder.render() + &process::metrics()
}
