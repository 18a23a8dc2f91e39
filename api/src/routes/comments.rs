//! Comments on runs, task runs and incidents: members read them, editors write them, authors edit their own.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use contract::ids::{CommentId, IncidentId, RunId, TaskRunId};
use contract::state::Role;
use utoipa::ToSchema;

use crate::auth::{Forbidden, SpaceEditor, SpaceMember, SpaceViewer};
use crate::http::error::{ApiError, ApiResult};
use crate::http::pagination::{PageRequest, PageResponse, RequestUri, read_paging};
use crate::http::request::{Body, Id, Query, body};
use crate::read_queue::permitted::Permitted;
use crate::state::App;
use crate::store::comments::{self, Comment, CommentTarget};
use crate::store::{incidents, runs, task_runs};

const MAX_CONTENT_LENGTH: usize = 10_000;

/// What a comment says.
#[derive(ToSchema)]
pub(super) struct NewComment {
    /// Counted without the white space around it, kept as it is
    #[schema(min_length = 1, max_length = 10_000)]
    content: String,
}

/// List the comments on a run, oldest first.
#[utoipa::path(
    get, path = "/runs/{run_id}/comments", operation_id = "get_runs_by_run_id_comments", tag = "Comments",
    responses((status = 200, description = "Comments", body = [Comment])),
)]
pub(super) async fn list_of_run(
    space: SpaceViewer,
    State(app): State<App>,
    Id(run): Id<RunId>,
    uri: RequestUri,
    query: Query,
) -> ApiResult<Permitted<PageResponse<Comment>>> {
    let page = read_only_paging(query, uri)?;
    let target = find_run(&app, &space, run).await?;
    list(&app, &space, target, page).await
}

/// List the comments on a task run, oldest first.
#[utoipa::path(
    get, path = "/task-runs/{task_run_id}/comments",
    operation_id = "get_task_runs_by_task_run_id_comments", tag = "Comments",
    responses((status = 200, description = "Comments", body = [Comment])),
)]
pub(super) async fn list_of_task_run(
    space: SpaceViewer,
    State(app): State<App>,
    Id(task_run): Id<TaskRunId>,
    uri: RequestUri,
    query: Query,
) -> ApiResult<Permitted<PageResponse<Comment>>> {
    let page = read_only_paging(query, uri)?;
    let target = find_task_run(&app, &space, task_run).await?;
    list(&app, &space, target, page).await
}

/// List the comments on an incident, oldest first.
#[utoipa::path(
    get, path = "/incidents/{incident_id}/comments",
    operation_id = "get_incidents_by_incident_id_comments", tag = "Comments",
    responses((status = 200, description = "Comments", body = [Comment])),
)]
pub(super) async fn list_of_incident(
    space: SpaceViewer,
    State(app): State<App>,
    Id(incident): Id<IncidentId>,
    uri: RequestUri,
    query: Query,
) -> ApiResult<Permitted<PageResponse<Comment>>> {
    let page = read_only_paging(query, uri)?;
    let target = find_incident(&app, &space, incident).await?;
    list(&app, &space, target, page).await
}

async fn list(
    app: &App,
    space: &SpaceMember,
    target: CommentTarget,
    page: PageRequest,
) -> ApiResult<Permitted<PageResponse<Comment>>> {
    let permit = app.reads.acquire(space.key).await?;
    let rows = comments::list(&app.db, space.space, target, &page.paging).await?;
    Ok(Permitted::new(PageResponse::new(rows, page), permit))
}

/// Comment on a run.
#[utoipa::path(
    post, path = "/runs/{run_id}/comments", operation_id = "post_runs_by_run_id_comments", tag = "Comments",
    request_body = NewComment,
    responses(
        (status = 201, description = "The comment", body = Comment),
        (status = 403, response = Forbidden),
    ),
)]
pub(super) async fn create_on_run(
    space: SpaceEditor,
    State(app): State<App>,
    Id(run): Id<RunId>,
    body: Body,
) -> ApiResult<(StatusCode, Json<Comment>)> {
    let NewComment { content } = NewComment::read(body)?;
    let target = find_run(&app, &space, run).await?;
    create(&app, &space, target, &content).await
}

/// Comment on a task run.
#[utoipa::path(
    post, path = "/task-runs/{task_run_id}/comments",
    operation_id = "post_task_runs_by_task_run_id_comments", tag = "Comments",
    request_body = NewComment,
    responses(
        (status = 201, description = "The comment", body = Comment),
        (status = 403, response = Forbidden),
    ),
)]
pub(super) async fn create_on_task_run(
    space: SpaceEditor,
    State(app): State<App>,
    Id(task_run): Id<TaskRunId>,
    body: Body,
) -> ApiResult<(StatusCode, Json<Comment>)> {
    let NewComment { content } = NewComment::read(body)?;
    let target = find_task_run(&app, &space, task_run).await?;
    create(&app, &space, target, &content).await
}

/// Comment on an incident.
#[utoipa::path(
    post, path = "/incidents/{incident_id}/comments",
    operation_id = "post_incidents_by_incident_id_comments", tag = "Comments", request_body = NewComment,
    responses(
        (status = 201, description = "The comment", body = Comment),
        (status = 403, response = Forbidden),
    ),
)]
pub(super) async fn create_on_incident(
    space: SpaceEditor,
    State(app): State<App>,
    Id(incident): Id<IncidentId>,
    body: Body,
) -> ApiResult<(StatusCode, Json<Comment>)> {
    let NewComment { content } = NewComment::read(body)?;
    let target = find_incident(&app, &space, incident).await?;
    create(&app, &space, target, &content).await
}

async fn create(
    app: &App,
    space: &SpaceMember,
    target: CommentTarget,
    content: &str,
) -> ApiResult<(StatusCode, Json<Comment>)> {
    let inserted = comments::insert(&app.db, space.space, target, space.user.id, content).await?;
    let gone = if matches!(target, CommentTarget::Incident(_)) { "Incident" } else { "Run" };
    let id = inserted.ok_or(ApiError::NotFound(gone))?;
    Ok((StatusCode::CREATED, Json(find(app, space, id).await?)))
}

/// Change what a comment says. Only its author may.
#[utoipa::path(
    put, path = "/comments/{comment_id}", operation_id = "put_comments_by_comment_id", tag = "Comments",
    request_body = NewComment,
    responses(
        (status = 200, description = "The comment", body = Comment),
        (status = 403, response = Forbidden),
    ),
)]
pub(super) async fn replace(
    space: SpaceEditor,
    state: State<App>,
    id: Id<CommentId>,
    body: Body,
) -> ApiResult<Json<Comment>> {
    update(space, state, id, body).await
}

/// Change what a comment says. Only its author may.
#[utoipa::path(
    patch, path = "/comments/{comment_id}", operation_id = "patch_comments_by_comment_id", tag = "Comments",
    request_body = NewComment,
    responses(
        (status = 200, description = "The comment", body = Comment),
        (status = 403, response = Forbidden),
    ),
)]
pub(super) async fn update(
    space: SpaceEditor,
    State(app): State<App>,
    Id(id): Id<CommentId>,
    body: Body,
) -> ApiResult<Json<Comment>> {
    let comment = find(&app, &space, id).await?;
    if comment.author.id != space.user.id {
        return Err(ApiError::Forbidden("Only its author edits a comment"));
    }
    let NewComment { content } = NewComment::read(body)?;
    if !comments::update(&app.db, space.space, id, &content).await? {
        return Err(ApiError::NotFound("Comment"));
    }
    find(&app, &space, id).await.map(Json)
}

/// Delete a comment. Its author may, and an admin.
#[utoipa::path(
    delete, path = "/comments/{comment_id}", operation_id = "delete_comments_by_comment_id", tag = "Comments",
    responses((status = 204, description = "Gone"), (status = 403, response = Forbidden)),
)]
pub(super) async fn delete(
    space: SpaceEditor,
    State(app): State<App>,
    Id(id): Id<CommentId>,
) -> ApiResult<StatusCode> {
    let comment = find(&app, &space, id).await?;
    if comment.author.id != space.user.id && space.role < Role::Admin {
        return Err(ApiError::Forbidden("Only its author or an admin deletes a comment"));
    }
    if !comments::delete(&app.db, space.space, space.user.id, &comment).await? {
        return Err(ApiError::NotFound("Comment"));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Reads a query that has no other parameters.
fn read_only_paging(mut query: Query, uri: RequestUri) -> ApiResult<PageRequest> {
    let page = read_paging(&mut query, uri, comments::ORDER);
    query.finish()?;
    Ok(page)
}

impl NewComment {
    fn read(body: Body) -> ApiResult<Self> {
        let mut fields = body.fields()?;
        let content = fields.required("content", body::text_of(1..=MAX_CONTENT_LENGTH));
        fields.finish()?;
        content.map(|content| Self { content }).ok_or(ApiError::Internal)
    }
}

async fn find(app: &App, space: &SpaceMember, comment: CommentId) -> ApiResult<Comment> {
    let found = comments::find(&app.db, space.space, comment).await?;
    found.ok_or(ApiError::NotFound("Comment"))
}

async fn find_run(app: &App, space: &SpaceMember, run: RunId) -> ApiResult<CommentTarget> {
    if !runs::exists(&app.db, space.space, run).await? {
        return Err(ApiError::NotFound("Run"));
    }
    Ok(CommentTarget::Run(run))
}

async fn find_task_run(app: &App, space: &SpaceMember, task_run: TaskRunId) -> ApiResult<CommentTarget> {
    let found = task_runs::find(&app.db, space.space, task_run).await?;
    let task_run = found.ok_or(ApiError::NotFound("Task run"))?;
    Ok(CommentTarget::TaskRun(task_run.run_id, task_run.id))
}

async fn find_incident(app: &App, space: &SpaceMember, incident: IncidentId) -> ApiResult<CommentTarget> {
    if incidents::find(&app.db, space.space, incident).await?.is_none() {
        return Err(ApiError::NotFound("Incident"));
    }
    Ok(CommentTarget::Incident(incident))
}
