//! The members of a team. Everyone in the space sees them; admins change them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use contract::ids::{TeamId, UserId};
use contract::state::TeamRole;
use platform::audit::Actor;
use strum::VariantArray;
use utoipa::ToSchema;

use crate::auth::{SpaceAdmin, SpaceViewer};
use crate::http::error::{ApiError, ApiResult};
use crate::http::pagination::{PageResponse, RequestUri, read_paging};
use crate::http::request::{Body, Id, Query, body};
use crate::state::App;
use crate::store::teams::{self, TeamMemberEntry};

/// The role that a user is to have in a team.
#[derive(ToSchema)]
pub(super) struct TeamRoleChange {
    role: TeamRole,
}

/// List the members of a team, by name.
#[utoipa::path(
    get, path = "/spaces/{slug}/teams/{team_id}/members", operation_id = "get_teams_by_team_id_members",
    tag = "Teams", responses((status = 200, description = "Members, by name", body = [TeamMemberEntry])),
)]
pub(super) async fn list(
    space: SpaceViewer,
    State(app): State<App>,
    Id(team): Id<TeamId>,
    uri: RequestUri,
    mut query: Query,
) -> ApiResult<PageResponse<TeamMemberEntry>> {
    let page = read_paging(&mut query, uri, teams::MEMBER_ORDER);
    query.finish()?;
    if !teams::exists(&app.db, space.space, team).await? {
        return Err(ApiError::NotFound("Team"));
    }
    let rows = teams::list_members(&app.db, space.space, team, &page.paging).await?;
    Ok(PageResponse::new(rows, page))
}

/// Add a member of the space to a team, or change a role. A second manager replaces the first.
#[utoipa::path(
    put, path = "/spaces/{slug}/teams/{team_id}/members/{user_id}",
    operation_id = "put_teams_by_team_id_members_by_user_id", tag = "Teams", request_body = TeamRoleChange,
    responses((status = 200, description = "The member", body = TeamMemberEntry)),
)]
pub(super) async fn set(
    space: SpaceAdmin,
    State(app): State<App>,
    Id(team): Id<TeamId>,
    Id(user): Id<UserId>,
    body: Body,
) -> ApiResult<Json<TeamMemberEntry>> {
    let mut fields = body.fields()?;
    let role = fields.required("role", body::one_of(TeamRole::VARIANTS));
    fields.finish()?;
    let change = TeamRoleChange { role: role.ok_or(ApiError::Internal)? };
    let mut tx = app.db.begin().await?;
    let actor = Actor::User(space.user.id);
    if !teams::set_member(&mut tx, actor, space.space, team, user, change.role).await? {
        return Err(ApiError::NotFound("Team or member of the space"));
    }
    tx.commit().await?;
    let found = teams::find_member(&app.db, space.space, team, user).await?;
    found.map(Json).ok_or(ApiError::NotFound("Member"))
}

/// Remove a member of a team.
#[utoipa::path(
    delete, path = "/spaces/{slug}/teams/{team_id}/members/{user_id}",
    operation_id = "delete_teams_by_team_id_members_by_user_id", tag = "Teams",
    responses((status = 204, description = "No longer a member")),
)]
pub(super) async fn remove(
    space: SpaceAdmin,
    State(app): State<App>,
    Id(team): Id<TeamId>,
    Id(user): Id<UserId>,
) -> ApiResult<StatusCode> {
    let mut tx = app.db.begin().await?;
    if !teams::remove_member(&mut tx, Actor::User(space.user.id), space.space, team, user).await? {
        return Err(ApiError::NotFound("Member"));
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
