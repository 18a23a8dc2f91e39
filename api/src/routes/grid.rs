//! The grid of a pipeline.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use contract::ids::PipelineId;

use super::filters;
use crate::auth::SpaceViewer;
use crate::http::error::{ApiError, ApiResult};
use crate::http::pagination::{RequestUri, read_position};
use crate::http::request::{Id, Query};
use crate::read_queue::permitted::Permitted;
use crate::state::App;
use crate::store::grid::{self, Grid};
use crate::store::runs::{RunFilter, RunQuery};

/// The number of runs of a grid when the client names none, and the largest.
const DEFAULT_RUNS: i64 = 25;
const MAX_RUNS: i64 = 100;

/// The states of a pipeline's tasks by task and run, the newest runs first. There are fewer runs than are
/// asked for if these have very many task runs.
#[utoipa::path(
    get, path = "/pipelines/{pipeline_id}/grid", operation_id = "get_pipelines_by_pipeline_id_grid",
    tag = "Pipelines",
    params(
        ("runs" = Option<i64>, Query, description = "How many runs", minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "The runs that follow, from X-Next-Cursor"),
        RunFilter,
    ),
    responses((status = 200, description = "The grid", body = Grid, headers(
        ("X-Next-Cursor" = String, description = "The value of cursor for older runs, if there are any"),
    ))),
)]
pub(super) async fn get(
    space: SpaceViewer,
    State(app): State<App>,
    Id(pipeline): Id<PipelineId>,
    uri: RequestUri,
    mut query: Query,
) -> ApiResult<impl IntoResponse> {
    let run_query = RunQuery { filter: filters::run_filter(&mut query), sort: None };
    let runs = query.integer("runs", 1..=MAX_RUNS).unwrap_or(DEFAULT_RUNS);
    let page = read_position(&mut query, uri, run_query.order(), runs);
    query.finish()?;
    let permit = app.reads.acquire(space.key).await?;
    let found = grid::find(&app.db, space.space, space.user.id, pipeline, &run_query, &page.paging).await?;
    let (grid, next) = found.ok_or(ApiError::NotFound("Pipeline"))?;
    Ok(Permitted::new((page.next_cursor(next), Json::<Grid>(grid)), permit))
}
