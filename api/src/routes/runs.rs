//! Runs: of a pipeline, of the whole space, and one of them with its task runs.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use contract::ids::{PipelineId, RunId};

use super::filters;
use crate::auth::{SpaceMember, SpaceViewer};
use crate::http::error::{ApiError, ApiResult};
use crate::http::pagination::{PageResponse, RequestUri, read_paging};
use crate::http::request::{Id, Query};
use crate::read_queue::permitted::{Permitted, large_json};
use crate::state::App;
use crate::store::pipelines::PipelineFilter;
use crate::store::runs::{self, Run, RunDetail, RunFilter, RunQuery, RunRead, RunsOf};
use crate::store::schema::IdList;

/// List the runs of a pipeline, newest first.
#[utoipa::path(
    get, path = "/pipelines/{pipeline_id}/runs", operation_id = "get_pipelines_by_pipeline_id_runs",
    tag = "Runs",
    params(("id" = inline(Option<IdList>), Query, description = "Any of these"), RunFilter, RunQuery),
    responses((status = 200, description = "Runs", body = [Run])),
)]
pub(super) async fn list_of_pipeline(
    space: SpaceViewer,
    State(app): State<App>,
    Id(pipeline): Id<PipelineId>,
    uri: RequestUri,
    query: Query,
) -> ApiResult<Permitted<PageResponse<Run>>> {
    list(&space, &app, &RunsOf::Pipeline(pipeline), uri, query).await
}

/// List the runs of all pipelines of the space, newest first.
#[utoipa::path(
    get, path = "/runs", operation_id = "get_runs", tag = "Runs",
    params(
        ("id" = inline(Option<IdList>), Query, description = "Any of these"),
        ("pipeline_id" = inline(Option<IdList>), Query, description = "Any of these pipelines"),
        PipelineFilter, RunFilter, RunQuery,
    ),
    responses((status = 200, description = "Runs", body = [Run])),
)]
pub(super) async fn list_of_space(
    space: SpaceViewer,
    State(app): State<App>,
    uri: RequestUri,
    mut query: Query,
) -> ApiResult<Permitted<PageResponse<Run>>> {
    // Runs of inactive pipelines are included by default, because they belong to the history.
    let filter = filters::pipeline_filter(&mut query, "pipeline_id", None);
    list(&space, &app, &RunsOf::Space(&filter), uri, query).await
}

async fn list(
    space: &SpaceMember,
    app: &App,
    of: &RunsOf<'_>,
    uri: RequestUri,
    mut query: Query,
) -> ApiResult<Permitted<PageResponse<Run>>> {
    let run_query = filters::runs(&mut query);
    let page = read_paging(&mut query, uri, run_query.order());
    query.finish()?;
    let permit = app.reads.acquire(space.key).await?;
    let found = runs::list(&app.db, space.space, space.user.id, of, &run_query, &page.paging).await?;
    let rows = found.ok_or(ApiError::NotFound("Pipeline"))?;
    Ok(Permitted::new(PageResponse::new(rows, page), permit))
}

/// One run with every one of its task runs.
#[utoipa::path(
    get, path = "/runs/{run_id}", operation_id = "get_runs_by_run_id", tag = "Runs",
    params(("include_deleted" = Option<bool>, Query, description =
        "Whether task runs that the provider no longer has are shown too")),
    responses((status = 200, description = "The run", body = RunDetail)),
)]
pub(super) async fn get(
    space: SpaceViewer,
    State(app): State<App>,
    Id(run): Id<RunId>,
    mut query: Query,
) -> ApiResult<Response> {
    let include_deleted = filters::include_deleted(&mut query);
    query.finish()?;
    match runs::find_small(&app.db, space.space, run, include_deleted).await? {
        None => Err(ApiError::NotFound("Run")),
        Some(RunRead::Small(run)) => Ok(Json(run).into_response()),
        Some(RunRead::Large) => read_large(&space, &app, run, include_deleted).await,
    }
}

/// Reads a run with many task runs or a large `conf`.
async fn read_large(
    space: &SpaceMember,
    app: &App,
    run: RunId,
    include_deleted: bool,
) -> ApiResult<Response> {
    let permit = app.large_reads.acquire(space.key).await?;
    let _permit = app.reads.acquire(space.key).await?;
    let found = runs::find(&app.db, space.space, run, include_deleted).await?;
    large_json(&found.ok_or(ApiError::NotFound("Run"))?, permit)
}
