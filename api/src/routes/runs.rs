//! Runs: of a pipeline, of the whole space, and one of them with all its tasks.

use axum::Json;
use axum::extract::State;
use contract::ids::{PipelineId, RunId};

use super::filters;
use crate::auth::{Member, SpaceViewer};
use crate::http::error::{ApiError, ApiResult};
use crate::http::pagination::{Page, Paging, Target};
use crate::http::request::{Id, Query};
use crate::state::App;
use crate::store::pipelines::PipelineFilter;
use crate::store::runs::{self, Run, RunDetail, RunFilter, RunQuery, RunsOf};
use crate::store::task_runs;

/// List the runs of a pipeline, newest first.
#[utoipa::path(get, path = "/pipelines/{pipeline_id}/runs", params(RunFilter, RunQuery), responses((status = 200, description = "Runs", body = [Run])))]
pub async fn list_of_pipeline(
    space: SpaceViewer,
    State(app): State<App>,
    Id(pipeline): Id<PipelineId>,
    target: Target,
    query: Query,
) -> ApiResult<Page<Run>> {
    list(&space, &app, &RunsOf::Pipeline(pipeline), target, query).await
}

/// List the runs of all pipelines of the space, newest first.
#[utoipa::path(get, path = "/runs", params(PipelineFilter, RunFilter, RunQuery), responses((status = 200, description = "Runs", body = [Run])))]
pub async fn list_of_space(
    space: SpaceViewer,
    State(app): State<App>,
    target: Target,
    mut query: Query,
) -> ApiResult<Page<Run>> {
    // The runs of a pipeline that is gone are history like any other.
    let filter = filters::pipeline_filter(&mut query, None);
    list(&space, &app, &RunsOf::Space(&filter), target, query).await
}

async fn list(
    space: &Member,
    app: &App,
    of: &RunsOf<'_>,
    target: Target,
    mut query: Query,
) -> ApiResult<Page<Run>> {
    let asked = filters::runs(&mut query);
    let paging = Paging::read(&mut query);
    query.finish()?;
    let found = runs::list(&app.db, space.space, space.user.id, of, &asked, paging).await?;
    Ok(Page::new(found.ok_or(ApiError::NotFound("Pipeline"))?, paging, target))
}

/// One run with every one of its task runs.
#[utoipa::path(get, path = "/runs/{run_id}", params(("include_deleted" = Option<bool>, Query, description = "Whether task runs that the provider no longer has are shown too")), responses((status = 200, description = "The run", body = RunDetail)))]
pub async fn show(
    space: SpaceViewer,
    State(app): State<App>,
    Id(run): Id<RunId>,
    mut query: Query,
) -> ApiResult<Json<RunDetail>> {
    let include_deleted = filters::include_deleted(&mut query);
    query.finish()?;
    find(&app, space.space, run, include_deleted).await.map(Json)
}

/// A run of the space with its task runs.
///
/// # Errors
/// When the space has none of this id.
pub async fn find(
    app: &App,
    space: contract::ids::SpaceId,
    run: RunId,
    include_deleted: bool,
) -> ApiResult<RunDetail> {
    let found = runs::get(&app.db, space, run, include_deleted).await?;
    let run = found.ok_or(ApiError::NotFound("Run"))?;
    let tasks = task_runs::list(&app.db, space, run.id, include_deleted).await?;
    Ok(RunDetail { run, tasks })
}
