//! The teams that can own a pipeline. Everyone in the space sees them; admins change them.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use contract::ids::TeamId;
use platform::audit::Actor;
use serde_json::Value;
use utoipa::ToSchema;

use crate::auth::{SpaceAdmin, SpaceViewer};
use crate::http::BASE_PATH;
use crate::http::error::{ApiError, ApiResult};
use crate::http::pagination::{PageResponse, RequestUri, read_paging};
use crate::http::request::{Body, Fields, Id, Query, ValueError, body};
use crate::state::App;
use crate::store::teams::{self, TeamEntry, TeamOutcome, TeamUpdate};

const NAME_TAKEN: ApiError = ApiError::Conflict("The space has a team of this name");

/// A team to be created.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct NewTeam {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    #[schema(required = false, max_length = 2_000)]
    description: Option<String>,
}

/// What of a team is to change; what is left out stays.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct TeamPatch {
    #[schema(required = false, nullable = false, min_length = 1, max_length = 200)]
    name: Option<String>,
    #[schema(required = false, max_length = 2_000)]
    description: Option<String>,
}

/// List the teams of the space, by name.
#[utoipa::path(
    get, path = "/spaces/{slug}/teams", operation_id = "get_teams", tag = "Teams",
    responses((status = 200, description = "Teams, by name", body = [TeamEntry])),
)]
pub(super) async fn list(
    space: SpaceViewer,
    State(app): State<App>,
    uri: RequestUri,
    mut query: Query,
) -> ApiResult<PageResponse<TeamEntry>> {
    let page = read_paging(&mut query, uri, teams::ORDER);
    query.finish()?;
    let rows = teams::list(&app.db, space.space, &page.paging).await?;
    Ok(PageResponse::new(rows, page))
}

/// Create a team without members.
#[utoipa::path(
    post, path = "/spaces/{slug}/teams", operation_id = "post_teams", tag = "Teams", request_body = NewTeam,
    responses(
        (status = 201, description = "The team", body = TeamEntry, headers(("Location" = String))),
        (status = 409, description = "The space has a team of this name"),
    ),
)]
pub(super) async fn create(
    space: SpaceAdmin,
    State(app): State<App>,
    body: Body,
) -> ApiResult<impl IntoResponse> {
    let mut fields = body.fields()?;
    let name = fields.required("name", name);
    let description = fields.optional("description", description);
    fields.finish()?;
    let name = name.unwrap_or_default();
    let mut tx = app.db.begin().await?;
    let actor = Actor::User(space.user.id);
    let id = teams::insert(&mut tx, actor, space.space, &name, description.as_deref()).await?;
    let id = id.ok_or(NAME_TAKEN)?;
    tx.commit().await?;
    let team = find(&app, &space, id).await?;
    let location = format!("{BASE_PATH}/spaces/{}/teams/{id}", space.slug);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], team))
}

/// Get a team.
#[utoipa::path(
    get, path = "/spaces/{slug}/teams/{team_id}", operation_id = "get_teams_by_team_id", tag = "Teams",
    responses((status = 200, description = "The team", body = TeamEntry)),
)]
pub(super) async fn get(
    space: SpaceViewer,
    State(app): State<App>,
    Id(team): Id<TeamId>,
) -> ApiResult<Json<TeamEntry>> {
    let found = teams::find(&app.db, space.space, team).await?;
    found.map(Json).ok_or(ApiError::NotFound("Team"))
}

/// Rename a team, or describe it.
#[utoipa::path(
    patch, path = "/spaces/{slug}/teams/{team_id}", operation_id = "patch_teams_by_team_id", tag = "Teams",
    request_body = TeamPatch,
    responses(
        (status = 200, description = "The team", body = TeamEntry),
        (status = 409, description = "The space has a team of this name"),
    ),
)]
pub(super) async fn update(
    space: SpaceAdmin,
    State(app): State<App>,
    Id(team): Id<TeamId>,
    body: Body,
) -> ApiResult<Json<TeamEntry>> {
    let change = read_update(body.fields()?)?;
    let mut tx = app.db.begin().await?;
    match teams::update(&mut tx, Actor::User(space.user.id), space.space, team, &change).await? {
        TeamOutcome::Done => tx.commit().await?,
        TeamOutcome::NotFound => return Err(ApiError::NotFound("Team")),
        TeamOutcome::NameTaken => return Err(NAME_TAKEN),
    }
    find(&app, &space, team).await
}

fn read_update(mut fields: Fields) -> ApiResult<TeamUpdate> {
    let name = fields.if_present("name", name);
    let has_description = fields.has("description");
    let description = fields.optional("description", description);
    fields.finish()?;
    Ok(TeamUpdate { name, description: has_description.then_some(description) })
}

/// Delete a team. Its pipelines are owned by no team afterwards.
#[utoipa::path(
    delete, path = "/spaces/{slug}/teams/{team_id}", operation_id = "delete_teams_by_team_id", tag = "Teams",
    responses((status = 204, description = "Deleted")),
)]
pub(super) async fn delete(
    space: SpaceAdmin,
    State(app): State<App>,
    Id(team): Id<TeamId>,
) -> ApiResult<StatusCode> {
    let mut tx = app.db.begin().await?;
    if !teams::delete(&mut tx, Actor::User(space.user.id), space.space, team).await? {
        return Err(ApiError::NotFound("Team"));
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(app: &App, space: &SpaceAdmin, team: TeamId) -> ApiResult<Json<TeamEntry>> {
    let found = teams::find(&app.db, space.space, team).await?;
    found.map(Json).ok_or(ApiError::NotFound("Team"))
}

/// Reads a name without the white space around it.
fn name(value: Value) -> Result<String, ValueError> {
    body::text_of(1..=200)(value).map(|name| name.trim().to_owned())
}

fn description(value: Value) -> Result<String, ValueError> {
    body::text_of(0..=2_000)(value)
}
