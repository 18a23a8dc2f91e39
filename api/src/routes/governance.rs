//! What a space decides about a pipeline: its team, its criticality, its watchers.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use contract::ids::{PipelineId, TeamId};
use contract::state::Criticality;
use serde::Serialize;
use strum::VariantArray;
use utoipa::ToSchema;

use crate::auth::{Forbidden, SpaceEditor, SpaceMember, SpaceViewer};
use crate::http::error::{ApiError, ApiResult};
use crate::http::request::{Body, Id, body, list};
use crate::read_queue::permitted::Permitted;
use crate::state::App;
use crate::store::governance::GovernanceChange;
use crate::store::pipelines::{self, PipelineDetail, PipelineView};
use crate::store::{governance, teams};

/// The maximum number of pipelines of a change.
const MAX_CHANGED: usize = 500;

/// Who is to own a pipeline.
#[derive(ToSchema)]
pub(super) struct TeamChange {
    /// Null for none
    #[schema(value_type = Option<Uuid>, required = true)]
    team_id: Option<TeamId>,
}

/// How much a pipeline is to matter.
#[derive(ToSchema)]
pub(super) struct CriticalityChange {
    /// Null for none
    #[schema(required = true)]
    criticality: Option<Criticality>,
}

/// A change of several pipelines: the team, the criticality, or both.
#[derive(ToSchema)]
#[schema(as = BulkChange)]
#[allow(dead_code, reason = "only its schema is used: a key that is left out changes nothing")]
pub(super) struct BulkChangeSchema {
    /// The pipelines; an id that is given twice counts once.
    #[schema(value_type = Vec<Uuid>, min_items = 1, max_items = 500)]
    ids: Vec<PipelineId>,
    /// The owning team; null for none.
    #[schema(value_type = Option<Uuid>)]
    team_id: Option<TeamId>,
    /// Null for none.
    criticality: Option<Criticality>,
}

/// The pipelines that a change has reached, and those that it has not.
#[derive(Serialize, ToSchema)]
pub(super) struct BulkResult {
    #[schema(value_type = Vec<Uuid>)]
    updated: Vec<PipelineId>,
    failed: Vec<FailedChange>,
}

/// A pipeline that was not changed.
#[derive(Serialize, ToSchema)]
pub(super) struct FailedChange {
    #[schema(value_type = Uuid)]
    id: PipelineId,
    detail: &'static str,
}

/// Set the team, the criticality, or both, of several pipelines.
#[utoipa::path(
    post, path = "/pipelines/bulk", operation_id = "post_pipelines_bulk", tag = "Pipelines",
    request_body = BulkChangeSchema,
    responses(
        (status = 200, description = "What was changed", body = BulkResult),
        (status = 403, response = Forbidden),
    ),
)]
pub(super) async fn update_many(
    space: SpaceEditor,
    State(app): State<App>,
    body: Body,
) -> ApiResult<Json<BulkResult>> {
    let mut fields = body.fields()?;
    let ids: Vec<PipelineId> = fields.required("ids", list::ids(1..=MAX_CHANGED)).unwrap_or_default();
    let has_criticality = fields.has("criticality");
    let change = GovernanceChange {
        team: (fields.has("team_id") || !has_criticality)
            .then(|| fields.nullable("team_id", body::id))
            .flatten(),
        criticality: has_criticality
            .then(|| fields.nullable("criticality", body::one_of(Criticality::VARIANTS)))
            .flatten(),
    };
    fields.finish()?;
    check_team(&app, &space, change.team.flatten()).await?;
    let updated = governance::update_many(&app.db, space.space, space.user.id, &ids, change).await?;
    let failed = ids.iter().filter(|id| !updated.contains(id));
    let failed = failed.map(|id| FailedChange { id: *id, detail: "Pipeline not found" }).collect();
    let updated = ids.iter().copied().filter(|id| updated.contains(id)).collect();
    Ok(Json(BulkResult { updated, failed }))
}

async fn check_team(app: &App, space: &SpaceMember, team: Option<TeamId>) -> ApiResult<()> {
    match team {
        Some(team) if !teams::exists(&app.db, space.space, team).await? => Err(ApiError::NotFound("Team")),
        _ => Ok(()),
    }
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
) -> ApiResult<Permitted<Json<PipelineDetail>>> {
    let mut fields = body.fields()?;
    let given = TeamChange { team_id: fields.nullable("team_id", body::id).flatten() };
    fields.finish()?;
    check_team(&app, &space, given.team_id).await?;
    let change = GovernanceChange { team: Some(given.team_id), ..GovernanceChange::default() };
    update(&app, &space, pipeline, change).await
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
) -> ApiResult<Permitted<Json<PipelineDetail>>> {
    let mut fields = body.fields()?;
    let criticality = fields.nullable("criticality", body::one_of(Criticality::VARIANTS)).flatten();
    let given = CriticalityChange { criticality };
    fields.finish()?;
    let change = GovernanceChange { criticality: Some(given.criticality), ..GovernanceChange::default() };
    update(&app, &space, pipeline, change).await
}

async fn update(
    app: &App,
    space: &SpaceMember,
    pipeline: PipelineId,
    change: GovernanceChange,
) -> ApiResult<Permitted<Json<PipelineDetail>>> {
    governance::update(&app.db, space.space, space.user.id, pipeline, change).await?;
    super::pipelines::read(app, space, pipeline, PipelineView::default()).await
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
