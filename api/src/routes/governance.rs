//! What a space decides about a pipeline: its team, its criticality, who watches it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use contract::ids::{PipelineId, TeamId};
use contract::state::Criticality;
use strum::VariantArray;
use utoipa::ToSchema;

use super::filters::DEFAULT_DAYS;
use crate::auth::{Member, SpaceEditor, SpaceViewer};
use crate::http::error::{ApiError, ApiResult};
use crate::http::request::{Body, Id, body};
use crate::openapi::CriticalityWord;
use crate::state::App;
use crate::store::pipelines::{self, PipelineDetail, Window};
use crate::store::{governance, teams};

/// Who is to own a pipeline.
#[derive(ToSchema)]
pub struct TeamChange {
    /// Null for nobody
    #[schema(value_type = Option<Uuid>, required = true)]
    team_id: Option<TeamId>,
}

/// How much a pipeline is to matter.
#[derive(ToSchema)]
pub struct CriticalityChange {
    /// Null when nobody says
    #[schema(value_type = Option<CriticalityWord>, required = true)]
    criticality: Option<Criticality>,
}

/// Assign or clear the owning team.
#[utoipa::path(patch, path = "/pipelines/{pipeline_id}/team", request_body = TeamChange, responses((status = 200, description = "The pipeline", body = PipelineDetail)))]
pub async fn set_team(
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
    shown(&app, &space, pipeline).await
}

/// Say how much a pipeline matters.
#[utoipa::path(patch, path = "/pipelines/{pipeline_id}/criticality", request_body = CriticalityChange, responses((status = 200, description = "The pipeline", body = PipelineDetail)))]
pub async fn set_criticality(
    space: SpaceEditor,
    State(app): State<App>,
    Id(pipeline): Id<PipelineId>,
    body: Body,
) -> ApiResult<Json<PipelineDetail>> {
    let mut fields = body.fields()?;
    let criticality = fields.nullable("criticality", body::word(Criticality::VARIANTS)).flatten();
    let change = CriticalityChange { criticality };
    fields.finish()?;
    governance::set_criticality(&app.db, space.space, space.user.id, pipeline, change.criticality).await?;
    shown(&app, &space, pipeline).await
}

async fn shown(app: &App, space: &Member, pipeline: PipelineId) -> ApiResult<Json<PipelineDetail>> {
    let window = Window { days: DEFAULT_DAYS, include_deleted: false };
    let found = pipelines::get(&app.db, space.space, space.user.id, pipeline, window).await?;
    found.map(Json).ok_or(ApiError::NotFound("Pipeline"))
}

/// Watch a pipeline.
#[utoipa::path(put, path = "/pipelines/{pipeline_id}/watch", responses((status = 204, description = "Watched")))]
pub async fn watch(
    space: SpaceViewer,
    State(app): State<App>,
    Id(pipeline): Id<PipelineId>,
) -> ApiResult<StatusCode> {
    require(&app, &space, pipeline).await?;
    governance::watch(&app.db, space.space, pipeline, space.user.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// No longer watch a pipeline.
#[utoipa::path(delete, path = "/pipelines/{pipeline_id}/watch", responses((status = 204, description = "Not watched")))]
pub async fn unwatch(
    space: SpaceViewer,
    State(app): State<App>,
    Id(pipeline): Id<PipelineId>,
) -> ApiResult<StatusCode> {
    require(&app, &space, pipeline).await?;
    governance::unwatch(&app.db, space.space, pipeline, space.user.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn require(app: &App, space: &Member, pipeline: PipelineId) -> ApiResult<()> {
    match pipelines::exists(&app.db, space.space, pipeline).await? {
        true => Ok(()),
        false => Err(ApiError::NotFound("Pipeline")),
    }
}
