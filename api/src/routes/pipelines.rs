//! Pipelines: the list and one of them.

use axum::Json;
use axum::extract::State;
use contract::ids::PipelineId;

use super::filters;
use crate::auth::SpaceViewer;
use crate::http::error::{ApiError, ApiResult};
use crate::http::pagination::{Page, Paging, Target};
use crate::http::request::{Id, Query};
use crate::state::App;
use crate::store::pipelines::{self, Pipeline, PipelineDetail, PipelineFilter, PipelineQuery, Window};

/// List the pipelines of the space.
#[utoipa::path(get, path = "/pipelines", params(PipelineFilter, PipelineQuery, Window), responses((status = 200, description = "Pipelines", body = [Pipeline])))]
pub async fn list(
    space: SpaceViewer,
    State(app): State<App>,
    target: Target,
    mut query: Query,
) -> ApiResult<Page<Pipeline>> {
    let asked = filters::pipelines(&mut query);
    let paging = Paging::read(&mut query);
    query.finish()?;
    let rows = pipelines::list(&app.db, space.space, space.user.id, &asked, paging).await?;
    Ok(Page::new(rows, paging, target))
}

/// One pipeline, with the provider's own description of it and its task graph.
#[utoipa::path(get, path = "/pipelines/{pipeline_id}", params(Window), responses((status = 200, description = "The pipeline", body = PipelineDetail)))]
pub async fn show(
    space: SpaceViewer,
    State(app): State<App>,
    Id(pipeline): Id<PipelineId>,
    mut query: Query,
) -> ApiResult<Json<PipelineDetail>> {
    let window = filters::window(&mut query);
    query.finish()?;
    let found = pipelines::get(&app.db, space.space, space.user.id, pipeline, window).await?;
    found.map(Json).ok_or(ApiError::NotFound("Pipeline"))
}
