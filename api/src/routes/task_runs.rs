//! One task run. The task runs of a run are part of the run's response.

use axum::Json;
use axum::extract::State;
use contract::ids::TaskRunId;

use crate::auth::SpaceViewer;
use crate::http::error::{ApiError, ApiResult};
use crate::http::request::Id;
use crate::state::App;
use crate::store::task_runs::{self, TaskRun};

/// One task run, one that the provider no longer has included.
#[utoipa::path(
    get, path = "/task-runs/{task_run_id}", operation_id = "get_task_runs_by_task_run_id", tag = "Runs",
    responses((status = 200, description = "The task run", body = TaskRun)),
)]
pub(super) async fn get(
    space: SpaceViewer,
    State(app): State<App>,
    Id(task_run): Id<TaskRunId>,
) -> ApiResult<Json<TaskRun>> {
    let found = task_runs::find(&app.db, space.space, task_run).await?;
    found.map(Json).ok_or(ApiError::NotFound("Task run"))
}
