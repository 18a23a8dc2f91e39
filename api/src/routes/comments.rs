//! Comments on runs and task runs: every member reads them, editors write them, authors edit their own.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use contract::ids::{CommentId, RunId, TaskRunId};
use contract::state::Role;
use utoipa::ToSchema;

use crate::auth::{Member, SpaceEditor, SpaceViewer};
use crate::http::error::{ApiError, ApiResult};
use crate::http::pagination::{self, Page, Paging};
use crate::http::request::{Body, Id, Query, body};
use crate::state::App;
use crate::store::comments::{self, Comment, Target};
use crate::store::{runs, task_runs};

const LONGEST: usize = 10_000;

/// What a comment says.
#[derive(ToSchema)]
pub struct NewComment {
    /// Counted without the white space around it, kept as it is
    #[schema(min_length = 1, max_length = 10_000)]
    content: String,
}

/// List the comments on a run, oldest first.
#[utoipa::path(get, path = "/runs/{run_id}/comments", responses((status = 200, description = "Comments", body = [Comment])))]
pub async fn list_of_run(
    space: SpaceViewer,
    State(app): State<App>,
    Id(run): Id<RunId>,
    link: pagination::Target,
    query: Query,
) -> ApiResult<Page<Comment>> {
    let paging = paging(query)?;
    let target = run_of(&app, &space, run).await?;
    let rows = comments::list(&app.db, space.space, target, paging).await?;
    Ok(Page::new(rows, paging, link))
}

/// List the comments on a task run, oldest first.
#[utoipa::path(get, path = "/task-runs/{task_run_id}/comments", responses((status = 200, description = "Comments", body = [Comment])))]
pub async fn list_of_task_run(
    space: SpaceViewer,
    State(app): State<App>,
    Id(task_run): Id<TaskRunId>,
    link: pagination::Target,
    query: Query,
) -> ApiResult<Page<Comment>> {
    let paging = paging(query)?;
    let target = task_run_of(&app, &space, task_run).await?;
    let rows = comments::list(&app.db, space.space, target, paging).await?;
    Ok(Page::new(rows, paging, link))
}

/// Comment on a run.
#[utoipa::path(post, path = "/runs/{run_id}/comments", request_body = NewComment, responses((status = 201, description = "The comment", body = Comment)))]
pub async fn create_on_run(
    space: SpaceEditor,
    State(app): State<App>,
    Id(run): Id<RunId>,
    body: Body,
) -> ApiResult<(StatusCode, Json<Comment>)> {
    let NewComment { content } = NewComment::read(body)?;
    let target = run_of(&app, &space, run).await?;
    create(&app, &space, target, &content).await
}

/// Comment on a task run.
#[utoipa::path(post, path = "/task-runs/{task_run_id}/comments", request_body = NewComment, responses((status = 201, description = "The comment", body = Comment)))]
pub async fn create_on_task_run(
    space: SpaceEditor,
    State(app): State<App>,
    Id(task_run): Id<TaskRunId>,
    body: Body,
) -> ApiResult<(StatusCode, Json<Comment>)> {
    let NewComment { content } = NewComment::read(body)?;
    let target = task_run_of(&app, &space, task_run).await?;
    create(&app, &space, target, &content).await
}

async fn create(
    app: &App,
    space: &Member,
    target: Target,
    content: &str,
) -> ApiResult<(StatusCode, Json<Comment>)> {
    let made = comments::create(&app.db, space.space, target, space.user.id, content).await?;
    let id = made.ok_or(ApiError::NotFound("Run"))?;
    Ok((StatusCode::CREATED, Json(find(app, space, id).await?)))
}

/// Change what a comment says. Only its author may.
#[utoipa::path(method(put, patch), path = "/comments/{comment_id}", request_body = NewComment, responses((status = 200, description = "The comment", body = Comment)))]
pub async fn update(
    space: SpaceEditor,
    State(app): State<App>,
    Id(comment): Id<CommentId>,
    body: Body,
) -> ApiResult<Json<Comment>> {
    let known = find(&app, &space, comment).await?;
    if known.author.id != space.user.id {
        return Err(ApiError::Forbidden("Only its author edits a comment"));
    }
    let NewComment { content } = NewComment::read(body)?;
    match comments::update(&app.db, space.space, comment, &content).await? {
        true => find(&app, &space, comment).await.map(Json),
        false => Err(ApiError::NotFound("Comment")),
    }
}

/// Delete a comment. Its author may, and an admin.
#[utoipa::path(delete, path = "/comments/{comment_id}", responses((status = 204, description = "Gone")))]
pub async fn delete(
    space: SpaceEditor,
    State(app): State<App>,
    Id(comment): Id<CommentId>,
) -> ApiResult<StatusCode> {
    let known = find(&app, &space, comment).await?;
    if known.author.id != space.user.id && space.role < Role::Admin {
        return Err(ApiError::Forbidden("Only its author or an admin deletes a comment"));
    }
    match comments::delete(&app.db, space.space, space.user.id, &known).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::NotFound("Comment")),
    }
}

fn paging(mut query: Query) -> ApiResult<Paging> {
    let paging = Paging::read(&mut query);
    query.finish()?;
    Ok(paging)
}

impl NewComment {
    fn read(body: Body) -> ApiResult<Self> {
        let mut fields = body.fields()?;
        let content = fields.required("content", body::text_of(1..=LONGEST));
        fields.finish()?;
        content.map(|content| Self { content }).ok_or(ApiError::Internal)
    }
}

async fn find(app: &App, space: &Member, comment: CommentId) -> ApiResult<Comment> {
    let found = comments::get(&app.db, space.space, comment).await?;
    found.ok_or(ApiError::NotFound("Comment"))
}

async fn run_of(app: &App, space: &Member, run: RunId) -> ApiResult<Target> {
    match runs::exists(&app.db, space.space, run).await? {
        true => Ok(Target { run, task_run: None }),
        false => Err(ApiError::NotFound("Run")),
    }
}

async fn task_run_of(app: &App, space: &Member, task_run: TaskRunId) -> ApiResult<Target> {
    let found = task_runs::get(&app.db, space.space, task_run).await?;
    let task_run = found.ok_or(ApiError::NotFound("Task run"))?;
    Ok(Target { run: task_run.run_id, task_run: Some(task_run.id) })
}
