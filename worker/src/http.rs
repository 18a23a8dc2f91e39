//! The worker's HTTP server: liveness, readiness and metrics.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use platform::health::{Heartbeats, check_readiness};
use platform::kafka::KafkaProbe;
use platform::telemetry::render_metrics;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::record_heartbeats;

/// Serves `/health`, `/readyz` and `/metrics`.
#[derive(Clone)]
pub(crate) struct HealthServer {
    pub(crate) metrics: PrometheusHandle,
    pub(crate) pool: PgPool,
    pub(crate) kafka: KafkaProbe,
    pub(crate) heartbeats: Heartbeats,
    pub(crate) stop: CancellationToken,
}

impl HealthServer {
    /// Serves until stopped.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let stop = self.stop.clone();
        let routes = Router::new()
            .route("/health", get(health))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self);
        let served = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = served.await {
            tracing::error!(%error, "health server failed");
        }
    }
}

async fn metrics(State(server): State<HealthServer>) -> impl IntoResponse {
    record_heartbeats(&server.heartbeats);
    let text = render_metrics(&server.metrics, &server.pool);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

async fn health(State(server): State<HealthServer>) -> (StatusCode, String) {
    respond_health(&server.heartbeats)
}

/// Fails while a task of the worker is stalled, so that a liveness probe restarts the process.
fn respond_health(heartbeats: &Heartbeats) -> (StatusCode, String) {
    let stalled = heartbeats.find_stalled();
    if stalled.is_empty() {
        return (StatusCode::OK, "alive\n".to_owned());
    }
    let line = |(task, age): &(&str, Duration)| format!("{task}: no heartbeat for {} s\n", age.as_secs());
    (StatusCode::INTERNAL_SERVER_ERROR, stalled.iter().map(line).collect())
}

async fn ready(State(server): State<HealthServer>) -> (StatusCode, String) {
    if server.stop.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    }
    match check_readiness(&server.pool, &server.kafka).await {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_health_check_fails_with_the_name_of_a_stalled_task() {
        let heartbeats = Heartbeats::default();
        heartbeats.register("projector", Duration::from_secs(3600));
        assert_eq!(respond_health(&heartbeats), (StatusCode::OK, "alive\n".to_owned()));
        heartbeats.register("relay", Duration::ZERO);
        std::thread::sleep(Duration::from_millis(1));
        let (status, text) = respond_health(&heartbeats);
        assert_eq!((status.as_u16(), text.as_str()), (500, "relay: no heartbeat for 0 s\n"));
    }
}
