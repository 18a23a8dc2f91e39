//! Triggering a run of a pipeline.

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use contract::ids::PipelineId;
use platform::trace;
use provider::connector::ConnectorType;
use tokio::time::timeout_at;

use crate::auth::{Forbidden, SpaceEditor};
use crate::http::error::{ApiError, ApiResult};
use crate::http::middleware::RequestStart;
use crate::http::request::{Id, LargeBody};
use crate::state::App;
use crate::store::runs::RunDetail;
use crate::store::triggers;
use crate::triggers::PendingTrigger;
use crate::triggers::idempotency::IdempotencyHeader;
use crate::triggers::request::TriggerRequest;

/// Trigger a run of a pipeline.
///
/// With an `Idempotency-Key`, asking again makes no second run.
#[utoipa::path(
    post, path = "/pipelines/{pipeline_id}/trigger", operation_id = "post_pipelines_by_pipeline_id_trigger",
    tag = "Pipelines", request_body = Option<TriggerRequest>, params(IdempotencyHeader),
    responses(
        (status = 201, description = "The run", body = RunDetail),
        (status = 403, response = Forbidden),
        (status = 409, description =
            "The pipeline is no longer active, its connector is off, or the provider has such a run"),
        (status = 422, description = "The input is invalid, or the provider finds it so"),
        (status = 502, description = "Nothing could be sent to the provider"),
        (status = 504, description =
            "Sent, and the outcome is not known; asking again with the same key is safe"),
        (status = "default", description = "The provider refused: its own code"),
    ),
)]
pub(super) async fn create(
    space: SpaceEditor,
    State(app): State<App>,
    Extension(RequestStart(started_at)): Extension<RequestStart>,
    Id(pipeline): Id<PipelineId>,
    headers: HeaderMap,
    body: LargeBody,
) -> ApiResult<Response> {
    let deadline = started_at + app.provider_time_limit();
    let IdempotencyHeader { key } = IdempotencyHeader::read(&headers)?;
    let request = TriggerRequest::read(body)?;
    let found = triggers::find_target(&app.db, space.space, pipeline).await?;
    let target = found.ok_or(ApiError::NotFound("Pipeline"))?;
    if target.connector_type != ConnectorType::Airflow {
        return Err(ApiError::BadRequest("Only Airflow pipelines can be triggered"));
    }
    let member = (*space).clone();
    let trigger =
        PendingTrigger { app: app.clone(), member, pipeline, target, idempotency_key: key, request };
    // A separate task finishes the command even if the client disconnects.
    let task = app.tasks.spawn(trace::propagate(trigger.execute(deadline)));
    match timeout_at(deadline, task).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => Err(ApiError::Internal),
        Err(_) => Err(ApiError::OutcomeUnknown),
    }
}
