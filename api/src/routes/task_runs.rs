//! Task runs by their id; a run's list of them stands with the run.

use axum::Json;
use axum::extract::State;
use contract::ids::TaskRunId;

use crate::auth::SpaceViewer;
use crate::http::error::{ApiError, ApiResult};
use crate::http::request::Id;
use crate::state::App;
use crate::store::task_runs::{self, TaskRun};

/// One task run, one that the provider no longer has included.
#[utoipa::path(get, path = "/task-runs/{task_run_id}", responses((status = 200, description = "The task run", body = TaskRun)))]
pub async fn show(
    space: SpaceViewer,
    State(app): State<App>,
    Id(task_run): Id<TaskRunId>,
) -> ApiResult<Json<TaskRun>> {
    let found = task_runs::get(&app.db, space.space, task_run).await?;
    found.map(Json).ok_or(ApiError::NotFound("Task run"))
}
