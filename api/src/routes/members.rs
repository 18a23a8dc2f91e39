//! The members of a space. Everyone in it sees them; admins change them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use contract::ids::UserId;
use contract::state::Role;
use platform::audit::Actor;
use strum::VariantArray;
use utoipa::ToSchema;

use crate::auth::{SpaceAdmin, SpaceViewer};
use crate::http::error::{ApiError, ApiResult};
use crate::http::pagination::{PageResponse, RequestUri, read_paging};
use crate::http::request::{Body, Id, Query, body};
use crate::state::App;
use crate::store::members::{self, MemberOutcome, RoleSource, SpaceMemberEntry};

/// The role that a user is to have.
#[derive(ToSchema)]
pub(super) struct RoleChange {
    role: Role,
}

/// List the members of the space, by name.
#[utoipa::path(
    get, path = "/spaces/{slug}/members", operation_id = "get_members", tag = "Spaces",
    responses((status = 200, description = "Members, by name", body = [SpaceMemberEntry])),
)]
pub(super) async fn list(
    space: SpaceViewer,
    State(app): State<App>,
    uri: RequestUri,
    mut query: Query,
) -> ApiResult<PageResponse<SpaceMemberEntry>> {
    let page = read_paging(&mut query, uri, members::ORDER);
    query.finish()?;
    let mut rows = members::list_page(&app.db, space.space, &page.paging).await?;
    if space.role < Role::Admin {
        rows.rows.iter_mut().for_each(|member| member.user.email = None);
    }
    Ok(PageResponse::new(rows, page))
}

/// Add a user to the space, or change the role of a member.
#[utoipa::path(
    put, path = "/spaces/{slug}/members/{user_id}", operation_id = "put_members_by_user_id", tag = "Spaces",
    request_body = RoleChange,
    responses(
        (status = 200, description = "The member", body = SpaceMemberEntry),
        (status = 409, description = "The space would be left without an admin"),
    ),
)]
pub(super) async fn set(
    space: SpaceAdmin,
    State(app): State<App>,
    Id(user): Id<UserId>,
    body: Body,
) -> ApiResult<Json<SpaceMemberEntry>> {
    let mut fields = body.fields()?;
    let role = fields.required("role", body::one_of(Role::VARIANTS));
    fields.finish()?;
    let change = RoleChange { role: role.ok_or(ApiError::Internal)? };
    let mut tx = app.db.begin().await?;
    let actor = Actor::User(space.user.id);
    check(members::set_role(&mut tx, actor, space.space, user, change.role, RoleSource::Person).await?)?;
    let member = members::find(&mut tx, space.space, user).await?;
    tx.commit().await?;
    member.map(Json).ok_or(ApiError::NotFound("User"))
}

/// Remove a member from the space: open event streams and sessions end within seconds.
#[utoipa::path(
    delete, path = "/spaces/{slug}/members/{user_id}", operation_id = "delete_members_by_user_id",
    tag = "Spaces",
    responses(
        (status = 204, description = "No longer a member"),
        (status = 409, description = "The space would be left without an admin"),
    ),
)]
pub(super) async fn remove(
    space: SpaceAdmin,
    State(app): State<App>,
    Id(user): Id<UserId>,
) -> ApiResult<StatusCode> {
    let mut tx = app.db.begin().await?;
    check(members::remove(&mut tx, Actor::User(space.user.id), space.space, user).await?)?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn check(outcome: MemberOutcome) -> ApiResult<()> {
    match outcome {
        MemberOutcome::Done => Ok(()),
        MemberOutcome::NotFound => Err(ApiError::NotFound("User")),
        MemberOutcome::LastAdmin => {
            Err(ApiError::Conflict("The last admin of a space stays; make another member an admin first"))
        }
    }
}
