//! The service's own endpoints: liveness, readiness and metrics.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use platform::telemetry::render_metrics;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::http::error::ApiError;
use crate::readiness::PartStates;
use crate::state::App;

/// What `/readyz` answers.
#[derive(Serialize, ToSchema)]
pub(super) struct ReadinessReport {
    /// `ready`.
    status: &'static str,
    parts: PartStates,
}

/// Whether the process answers at all.
#[utoipa::path(
    get, path = "/health", operation_id = "get_health", tag = "Service",
    responses((status = 200, description = "It lives", body = Value)),
)]
pub(super) async fn get_health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// Whether reads can be served here: the process is not stopping, and PostgreSQL answers and has the schema.
///
/// Kafka is named without taking reads away.
#[utoipa::path(
    get, path = "/readyz", operation_id = "get_readyz", tag = "Service",
    responses(
        (status = 200, description = "Reads are served", body = ReadinessReport),
        (status = 503, description = "Reads cannot be served; `detail` says why, `parts` how each part is"),
    ),
)]
pub(super) async fn get_readiness(State(app): State<App>) -> Response {
    if app.stopping.is_cancelled() {
        return ApiError::Unavailable("The service is stopping").into_response();
    }
    let parts = app.readiness.check().await;
    let Some(obstacle) = parts.obstacle() else {
        return Json(ReadinessReport { status: "ready", parts }).into_response();
    };
    let error = ApiError::Unavailable(obstacle);
    let mut body = error.body();
    body["parts"] = json!(parts);
    let (head, _) = error.into_response().into_parts();
    Response::from_parts(head, Body::from(body.to_string()))
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
