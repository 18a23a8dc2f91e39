//! The worker's HTTP server: liveness, readiness and metrics.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use platform::health::check_readiness;
use platform::kafka::KafkaProbe;
use platform::telemetry::render_metrics;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serves `/health`, `/readyz` and `/metrics`.
#[derive(Clone)]
pub(crate) struct HealthServer {
    pub(crate) metrics: PrometheusHandle,
    pub(crate) pool: PgPool,
    pub(crate) kafka: KafkaProbe,
    pub(crate) stop: CancellationToken,
}

impl HealthServer {
    /// Serves until stopped.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let stop = self.stop.clone();
        let routes = Router::new()
            .route("/health", get(async || "alive\n"))
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
    let text = render_metrics(&server.metrics, &server.pool);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
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
