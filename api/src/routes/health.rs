//! The service's own endpoints: liveness, readiness and metrics.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use platform::health::check_readiness;
use platform::telemetry::render_metrics;
use serde_json::{Value, json};

use crate::http::error::{ApiError, ApiResult};
use crate::state::App;

/// Whether the process answers at all.
#[utoipa::path(
    get, path = "/health", operation_id = "get_health", tag = "Service",
    responses((status = 200, description = "It lives", body = Value)),
)]
pub(super) async fn get_health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// Whether requests should be sent here: PostgreSQL and Kafka answer, and the process is not stopping.
#[utoipa::path(
    get, path = "/readyz", operation_id = "get_readyz", tag = "Service",
    responses(
        (status = 200, description = "It is ready", body = Value),
        (status = 503, description = "What is away"),
    ),
)]
pub(super) async fn get_readiness(State(app): State<App>) -> ApiResult<Json<Value>> {
    if app.stopping.is_cancelled() {
        return Err(ApiError::Unavailable("The service is stopping"));
    }
    check_readiness(&app.db, &app.kafka).await.map_err(ApiError::Unavailable)?;
    Ok(Json(json!({"status": "ready"})))
}

/// Counts and durations, as Prometheus text.
#[utoipa::path(
    get, path = "/metrics", operation_id = "get_metrics", tag = "Service",
    responses((status = 200, description = "Prometheus text", content_type = "text/plain", body = String)),
)]
pub(super) async fn get_metrics(State(app): State<App>) -> impl IntoResponse {
    let text = render_metrics(&app.metrics, &app.db);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}
