//! Pipelines: the list, and one of them.

use axum::Json;
use axum::extract::State;
use contract::ids::PipelineId;

use super::filters;
use crate::auth::SpaceViewer;
use crate::http::error::{ApiError, ApiResult};
use crate::http::pagination::{PageResponse, RequestUri, read_paging};
use crate::http::request::{Id, Query};
use crate::state::App;
use crate::store::pipelines::{self, MetricsWindow, Pipeline, PipelineDetail, PipelineFilter, PipelineQuery};

/// List the pipelines of the space.
#[utoipa::path(
    get, path = "/pipelines", operation_id = "get_pipelines", tag = "Pipelines",
    params(PipelineFilter, PipelineQuery, MetricsWindow),
    responses((status = 200, description = "Pipelines", body = [Pipeline])),
)]
pub(super) async fn list(
    space: SpaceViewer,
    State(app): State<App>,
    uri: RequestUri,
    mut query: Query,
) -> ApiResult<PageResponse<Pipeline>> {
    let pipeline_query = filters::pipelines(&mut query);
    let paging = read_paging(&mut query);
    query.finish()?;
    let rows = pipelines::list(&app.db, space.space, space.user.id, &pipeline_query, paging).await?;
    Ok(PageResponse::new(rows, paging, uri))
}

/// One pipeline, with the provider's own description of it and its task graph.
#[utoipa::path(
    get, path = "/pipelines/{pipeline_id}", operation_id = "get_pipelines_by_pipeline_id",
    tag = "Pipelines", params(MetricsWindow),
    responses((status = 200, description = "The pipeline", body = PipelineDetail)),
)]
pub(super) async fn get(
    space: SpaceViewer,
    State(app): State<App>,
    Id(pipeline): Id<PipelineId>,
    mut query: Query,
) -> ApiResult<Json<PipelineDetail>> {
    let window = filters::metrics_window(&mut query);
    query.finish()?;
    let found = pipelines::find(&app.db, space.space, space.user.id, pipeline, window).await?;
    found.map(Json).ok_or(ApiError::NotFound("Pipeline"))
}
