//! What a space decides about a pipeline: its team, its criticality, its watchers.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use contract::ids::{PipelineId, TeamId};
use contract::state::Criticality;
use platform::pipeline_metrics::WINDOW_DAYS;
use strum::VariantArray;
use utoipa::ToSchema;

use crate::auth::{Forbidden, SpaceEditor, SpaceMember, SpaceViewer};
use crate::http::error::{ApiError, ApiResult};
use crate::http::request::{Body, Id, body};
use crate::state::App;
use crate::store::pipelines::{self, MetricsWindow, PipelineDetail};
use crate::store::{governance, teams};

/// Who is to own a pipeline.
#[derive(ToSchema)]
pub(super) struct TeamChange {
    #[doc = "Null for nobody"]
    #[schema(value_type = Option<Uuid>, required = true)]
    team_id: Option<TeamId>,
}

/// How much a pipeline is to matter.
#[derive(ToSchema)]
pub(super) struct CriticalityChange {
    #[doc = "Null when nobody says"]
    #[schema(required = true)]
    criticality: Option<Criticality>,
}

/// Assign or clear the owning team.
#[utoipa::path(
    patch, path = "/pipelines/{pipeline_id}/team", operation_id = "patch_pipelines_by_pipeline_id_team",
    tag = "Pipelines", request_body = TeamChange,
    responses(
        (status = 200, description = "The pipeline", body = PipelineDetail),
        (status = 403, response = Forbidden),
    ),
)]
pub(super) async fn update_team(
    space: SpaceEditor,
    State(app): State<App>,
    Id(pipeline): Id<PipelineId>,
    body: Body,
) -> ApiResult<Json<PipelineDetail>> {
    let mut fields = body.fields()?;
    let change = TeamChange { team_id: fields.nullable("team_id", body::id).flatten() };
    fields.finish()?;
    if let Some(team) = change.team_id
        && !teams::exists(&app.db, space.space, team).await?
    {
        return Err(ApiError::NotFound("Team"));
    }
    governance::set_team(&app.db, space.space, space.user.id, pipeline, change.team_id).await?;
    pipeline_response(&app, &space, pipeline).await
}

/// Say how much a pipeline matters.
#[utoipa::path(
    patch, path = "/pipelines/{pipeline_id}/criticality",
    operation_id = "patch_pipelines_by_pipeline_id_criticality", tag = "Pipelines",
    request_body = CriticalityChange,
    responses(
        (status = 200, description = "The pipeline", body = PipelineDetail),
        (status = 403, response = Forbidden),
    ),
)]
pub(super) async fn update_criticality(
    space: SpaceEditor,
    State(app): State<App>,
    Id(pipeline): Id<PipelineId>,
    body: Body,
) -> ApiResult<Json<PipelineDetail>> {
    let mut fields = body.fields()?;
    let criticality = fields.nullable("criticality", body::one_of(Criticality::VARIANTS)).flatten();
    let change = CriticalityChange { criticality };
    fields.finish()?;
    governance::set_criticality(&app.db, space.space, space.user.id, pipeline, change.criticality).await?;
    pipeline_response(&app, &space, pipeline).await
}

async fn pipeline_response(
    app: &App,
    space: &SpaceMember,
    pipeline: PipelineId,
) -> ApiResult<Json<PipelineDetail>> {
    let window = MetricsWindow { days: WINDOW_DAYS, include_deleted: false };
    let found = pipelines::find(&app.db, space.space, space.user.id, pipeline, window).await?;
    found.map(Json).ok_or(ApiError::NotFound("Pipeline"))
}

/// Watch a pipeline.
#[utoipa::path(
    put, path = "/pipelines/{pipeline_id}/watch", operation_id = "put_pipelines_by_pipeline_id_watch",
    tag = "Pipelines", responses((status = 204, description = "Watched")),
)]
pub(super) async fn watch(
    space: SpaceViewer,
    State(app): State<App>,
    Id(pipeline): Id<PipelineId>,
) -> ApiResult<StatusCode> {
    check_exists(&app, &space, pipeline).await?;
    governance::watch(&app.db, space.space, pipeline, space.user.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// No longer watch a pipeline.
#[utoipa::path(
    delete, path = "/pipelines/{pipeline_id}/watch", operation_id = "delete_pipelines_by_pipeline_id_watch",
    tag = "Pipelines", responses((status = 204, description = "Not watched")),
)]
pub(super) async fn unwatch(
    space: SpaceViewer,
    State(app): State<App>,
    Id(pipeline): Id<PipelineId>,
) -> ApiResult<StatusCode> {
    check_exists(&app, &space, pipeline).await?;
    governance::unwatch(&app.db, space.space, pipeline, space.user.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn check_exists(app: &App, space: &SpaceMember, pipeline: PipelineId) -> ApiResult<()> {
    let exists = pipelines::exists(&app.db, space.space, pipeline).await?;
    if exists { Ok(()) } else { Err(ApiError::NotFound("Pipeline")) }
}
