//! Pipelines: the list, and one of them.

use axum::Json;
use axum::extract::State;
use contract::ids::PipelineId;
use contract::state::Health;

use super::filters;
use crate::auth::{SpaceMember, SpaceViewer};
use crate::http::error::{ApiError, ApiResult};
use crate::http::pagination::{PageResponse, RequestUri, read_paging};
use crate::http::request::{Id, Query};
use crate::read_queue::permitted::Permitted;
use crate::state::App;
use crate::store::pipelines::{
    self, MetricsWindow, Pipeline, PipelineDetail, PipelineFacets, PipelineFilter, PipelineQuery,
    PipelineStatus, PipelineView,
};
use crate::store::schema::IdList;

/// List the pipelines of the space.
#[utoipa::path(
    get, path = "/pipelines", operation_id = "get_pipelines", tag = "Pipelines",
    params(
        ("id" = inline(Option<IdList>), Query, description = "Any of these"),
        PipelineFilter, PipelineQuery, PipelineView, MetricsWindow,
    ),
    responses((status = 200, description = "Pipelines", body = [Pipeline])),
)]
pub(super) async fn list(
    space: SpaceViewer,
    State(app): State<App>,
    uri: RequestUri,
    mut query: Query,
) -> ApiResult<Permitted<PageResponse<Pipeline>>> {
    let pipeline_query = filters::pipelines(&mut query);
    let page = read_paging(&mut query, uri, pipeline_query.order());
    query.finish()?;
    let permit = app.reads.acquire(space.key).await?;
    let rows = pipelines::list(&app.db, space.space, space.user.id, &pipeline_query, &page.paging).await?;
    Ok(Permitted::new(PageResponse::new(rows, page), permit))
}

/// Count the pipelines by status, health, owner, tag, criticality, team and connector. Each is counted under
/// the filters on the others.
#[utoipa::path(
    get, path = "/pipelines/facets", operation_id = "get_pipelines_facets", tag = "Pipelines",
    params(
        ("id" = inline(Option<IdList>), Query, description = "Any of these"),
        ("status" = inline(Option<Vec<PipelineStatus>>), Query,
            description = "The latest run's status, or `never_run`"),
        ("health" = inline(Option<Vec<Health>>), Query, description = "Any of these"),
        PipelineFilter,
    ),
    responses((status = 200, description = "The facets", body = PipelineFacets)),
)]
pub(super) async fn get_facets(
    space: SpaceViewer,
    State(app): State<App>,
    mut query: Query,
) -> ApiResult<Permitted<Json<PipelineFacets>>> {
    let pipeline_query = filters::pipelines(&mut query);
    query.finish()?;
    let permit = app.reads.acquire(space.key).await?;
    let facets = pipelines::count_facets(&app.db, space.space, space.user.id, &pipeline_query).await?;
    Ok(Permitted::new(Json(facets), permit))
}

/// One pipeline, with the provider's own description of it and its task graph.
#[utoipa::path(
    get, path = "/pipelines/{pipeline_id}", operation_id = "get_pipelines_by_pipeline_id",
    tag = "Pipelines", params(PipelineView, MetricsWindow),
    responses((status = 200, description = "The pipeline", body = PipelineDetail)),
)]
pub(super) async fn get(
    space: SpaceViewer,
    State(app): State<App>,
    Id(pipeline): Id<PipelineId>,
    mut query: Query,
) -> ApiResult<Permitted<Json<PipelineDetail>>> {
    let view = filters::pipeline_view(&mut query);
    query.finish()?;
    read(&app, &space, pipeline, view).await
}

/// Reads one pipeline. It waits for its turn if it takes more than a few rows.
pub(super) async fn read(
    app: &App,
    space: &SpaceMember,
    pipeline: PipelineId,
    view: PipelineView,
) -> ApiResult<Permitted<Json<PipelineDetail>>> {
    let is_cheap = pipelines::is_cheap(&app.db, space.space, pipeline, view.window).await?;
    let permit = if is_cheap { None } else { Some(app.reads.acquire(space.key).await?) };
    let found = pipelines::find(&app.db, space.space, space.user.id, pipeline, view).await?;
    let pipeline = Json(found.ok_or(ApiError::NotFound("Pipeline"))?);
    Ok(Permitted { response: pipeline, permit })
}
