//! The groups of the OpenID Connect provider that have a role in the space. Admins see and change them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use contract::ids::GroupMappingId;
use contract::state::Role;
use platform::audit::Actor;
use strum::VariantArray;
use utoipa::ToSchema;

use crate::auth::{Forbidden, SpaceAdmin};
use crate::http::error::{ApiError, ApiResult};
use crate::http::pagination::{PageResponse, RequestUri, read_paging};
use crate::http::request::{Body, Id, Query, body};
use crate::state::App;
use crate::store::group_mappings::{self, GroupMapping};

const NOT_FOUND: ApiError = ApiError::NotFound("Group mapping");

/// A group that is to have a role.
#[derive(ToSchema)]
pub(super) struct NewGroupMapping {
    /// As the provider's groups claim holds it: a name, a path or an id
    #[schema(min_length = 1, max_length = 500)]
    group: String,
    role: Role,
}

/// The role that a group is to have.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct GroupMappingPatch {
    role: Role,
}

/// List the groups that have a role in the space, by name.
#[utoipa::path(
    get, path = "/spaces/{slug}/group-mappings", operation_id = "get_group_mappings", tag = "Spaces",
    responses(
        (status = 200, description = "Groups, by name", body = [GroupMapping]),
        (status = 403, response = Forbidden),
    ),
)]
pub(super) async fn list(
    space: SpaceAdmin,
    State(app): State<App>,
    uri: RequestUri,
    mut query: Query,
) -> ApiResult<PageResponse<GroupMapping>> {
    let page = read_paging(&mut query, uri, group_mappings::ORDER);
    query.finish()?;
    let rows = group_mappings::list(&app.db, space.space, &page.paging).await?;
    Ok(PageResponse::new(rows, page))
}

/// Give a group a role in the space.
#[utoipa::path(
    post, path = "/spaces/{slug}/group-mappings", operation_id = "post_group_mappings", tag = "Spaces",
    description = "People get the role when they sign in at the OpenID Connect provider, and at once if they \
        have signed in before. Of several groups the highest role counts. A role that an admin has set for a \
        person stays.",
    request_body = NewGroupMapping,
    responses(
        (status = 201, description = "The mapping", body = GroupMapping),
        (status = 409, description = "The group has a role in the space already"),
    ),
)]
pub(super) async fn create(
    space: SpaceAdmin,
    State(app): State<App>,
    body: Body,
) -> ApiResult<(StatusCode, Json<GroupMapping>)> {
    let mut fields = body.fields()?;
    let group = fields.required("group", body::text_of(1..=500));
    let role = fields.required("role", body::one_of(Role::VARIANTS));
    fields.finish()?;
    let new = NewGroupMapping { group: group.unwrap_or_default(), role: role.ok_or(ApiError::Internal)? };
    let mut tx = app.db.begin().await?;
    let actor = Actor::User(space.user.id);
    let id = group_mappings::insert(&mut tx, actor, space.space, &new.group, new.role).await?;
    let id = id.ok_or(ApiError::Conflict("The group has a role in the space; change that one"))?;
    let mapping = group_mappings::find(&mut *tx, space.space, id).await?.ok_or(NOT_FOUND)?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(mapping)))
}

/// Change the role of a group.
#[utoipa::path(
    patch, path = "/spaces/{slug}/group-mappings/{group_mapping_id}",
    operation_id = "patch_group_mappings_by_group_mapping_id", tag = "Spaces",
    request_body = GroupMappingPatch,
    responses((status = 200, description = "The mapping", body = GroupMapping)),
)]
pub(super) async fn update(
    space: SpaceAdmin,
    State(app): State<App>,
    Id(id): Id<GroupMappingId>,
    body: Body,
) -> ApiResult<Json<GroupMapping>> {
    let mut fields = body.fields()?;
    let role = fields.required("role", body::one_of(Role::VARIANTS));
    fields.finish()?;
    let role = role.ok_or(ApiError::Internal)?;
    let mut tx = app.db.begin().await?;
    let before = group_mappings::find(&mut *tx, space.space, id).await?.ok_or(NOT_FOUND)?;
    let actor = Actor::User(space.user.id);
    group_mappings::update(&mut tx, actor, space.space, &before, role).await?;
    tx.commit().await?;
    Ok(Json(GroupMapping { role, ..before }))
}

/// Take a group's role away: who is a member of the space by this group alone leaves it.
#[utoipa::path(
    delete, path = "/spaces/{slug}/group-mappings/{group_mapping_id}",
    operation_id = "delete_group_mappings_by_group_mapping_id", tag = "Spaces",
    responses((status = 204, description = "Deleted")),
)]
pub(super) async fn delete(
    space: SpaceAdmin,
    State(app): State<App>,
    Id(id): Id<GroupMappingId>,
) -> ApiResult<StatusCode> {
    let mut tx = app.db.begin().await?;
    let before = group_mappings::find(&mut *tx, space.space, id).await?.ok_or(NOT_FOUND)?;
    group_mappings::delete(&mut tx, Actor::User(space.user.id), space.space, &before).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
