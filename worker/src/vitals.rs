//! The worker's vital signs over HTTP: alive, ready, and in numbers.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use platform::kafka::KafkaProbe;
use platform::telemetry::render_metrics;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What is asked for the vital signs.
#[derive(Clone)]
pub struct Vitals {
    pub metrics: PrometheusHandle,
    pub pool: PgPool,
    pub kafka: KafkaProbe,
    pub stop: CancellationToken,
}

/// Serves until stopped.
pub async fn serve(listener: TcpListener, vitals: Vitals) {
    let stop = vitals.stop.clone();
    let routes = Router::new()
        .route("/health", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(numbers))
        .with_state(vitals);
    let served = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "the metrics are not served any more");
    }
}

async fn numbers(State(vitals): State<Vitals>) -> impl IntoResponse {
    let told = render_metrics(&vitals.metrics, &vitals.pool);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], told)
}

async fn ready(State(vitals): State<Vitals>) -> (StatusCode, &'static str) {
    if vitals.stop.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    let (postgres, kafka) =
        tokio::join!(sqlx::query("select 1").execute(&vitals.pool), vitals.kafka.answers());
    match (postgres.is_ok(), kafka) {
        (true, true) => (StatusCode::OK, "ready\n"),
        (false, true) => (StatusCode::SERVICE_UNAVAILABLE, "PostgreSQL does not answer\n"),
        (true, false) => (StatusCode::SERVICE_UNAVAILABLE, "Kafka does not answer\n"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "PostgreSQL and Kafka do not answer\n"),
    }
}
