//! The service's own endpoints: liveness, readiness and metrics.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use platform::telemetry::render_metrics;
use serde::Serialize;
use serde_json::json;
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

/// Whether the process answers, and its long-lived tasks go on.
#[utoipa::path(
    get, path = "/health", operation_id = "get_health", tag = "Service",
    responses(
        (status = 200, description = "It lives", body = Value),
        (status = 500, description = "A long-lived task is stalled, which `detail` names: start it again"),
    ),
)]
pub(super) async fn get_health(State(app): State<App>) -> Response {
    let stalled = app.watched.heartbeats().find_stalled();
    if stalled.is_empty() {
        return Json(json!({"status": "ok"})).into_response();
    }
    let task = |(task, age): &(&str, Duration)| format!("{task}: no heartbeat for {} s", age.as_secs());
    let tasks: Vec<String> = stalled.iter().map(task).collect();
    (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({"detail": tasks.join(", ")}))).into_response()
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
    app.watched.heartbeats().record_ages();
    let text = render_metrics(&app.metrics, &app.db);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}
