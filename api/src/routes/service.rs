//! The service's own endpoints: whether it lives, whether it is ready, and how it does.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use platform::telemetry::render_metrics;
use serde_json::{Value, json};
use std::time::Duration;

use crate::http::error::{ApiError, ApiResult};
use crate::state::App;

const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the process answers at all.
#[utoipa::path(get, path = "/health", responses((status = 200, description = "It lives", body = Value)))]
pub async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// Whether requests should be sent here: PostgreSQL and Kafka answer, and the process is not stopping.
#[utoipa::path(get, path = "/readyz", responses((status = 200, description = "It is ready", body = Value), (status = 503, description = "What is away")))]
pub async fn ready(State(app): State<App>) -> ApiResult<Json<Value>> {
    if app.stopping.is_cancelled() {
        return Err(ApiError::Unavailable("The service is stopping"));
    }
    let (postgres, kafka) = tokio::join!(postgres_answers(&app), app.kafka.is_reachable());
    match (postgres, kafka) {
        (true, true) => Ok(Json(json!({"status": "ready"}))),
        (false, true) => Err(ApiError::Unavailable("PostgreSQL does not answer")),
        (true, false) => Err(ApiError::Unavailable("Kafka does not answer")),
        (false, false) => Err(ApiError::Unavailable("PostgreSQL and Kafka do not answer")),
    }
}

async fn postgres_answers(app: &App) -> bool {
    let asked = sqlx::query("select 1").execute(&app.db);
    matches!(tokio::time::timeout(PATIENCE, asked).await, Ok(Ok(_)))
}

/// Counts and durations, as Prometheus text.
#[utoipa::path(get, path = "/metrics", responses((status = 200, description = "Prometheus text", content_type = "text/plain", body = String)))]
pub async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let told = render_metrics(&app.metrics, &app.db);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], told)
}
