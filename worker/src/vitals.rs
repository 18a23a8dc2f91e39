//! The worker's vital signs over HTTP: alive, ready, and in numbers.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use shared::telemetry::render_metrics;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[derive(Clone)]
struct Vitals {
    metrics: PrometheusHandle,
    pool: PgPool,
    stop: CancellationToken,
}

/// Serves until stopped.
pub async fn serve(listener: TcpListener, metrics: PrometheusHandle, pool: PgPool, stop: CancellationToken) {
    let routes = Router::new()
        .route("/health", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(numbers))
        .with_state(Vitals { metrics, pool, stop: stop.clone() });
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
    match sqlx::query("select 1").execute(&vitals.pool).await {
        Ok(_) => (StatusCode::OK, "ready\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "PostgreSQL does not answer\n"),
    }
}
