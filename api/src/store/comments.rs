//! Comments on runs and task runs. They belong to the space and outlive every sync and rebuild.

use chrono::{DateTime, Utc};
use contract::events::UserRef;
use contract::ids::{CommentId, RunId, SpaceId, TaskRunId, UserId};
use platform::audit::{self, Action, Actor, AuditEvent};
use serde::Serialize;
use serde_json::json;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Postgres, QueryBuilder, Row};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::http::pagination::{Paging, Rows};
use crate::openapi::Person;

/// A comment.
#[derive(Debug, Serialize, ToSchema)]
pub struct Comment {
    #[schema(value_type = Uuid)]
    pub id: CommentId,
    /// `run` or `task_run`.
    pub target_type: &'static str,
    /// On a task run, its run's.
    #[schema(value_type = Uuid)]
    pub run_id: RunId,
    #[schema(value_type = Option<Uuid>)]
    pub task_run_id: Option<TaskRunId>,
    /// As it was given.
    pub content: String,
    #[schema(value_type = Person)]
    pub author: UserRef,
    pub edited: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What is commented on.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub run: RunId,
    /// None for the run itself.
    pub task_run: Option<TaskRunId>,
}

impl FromRow<'_, PgRow> for Comment {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let task_run_id = row.try_get::<Option<TaskRunId>, _>("task_run_id")?;
        Ok(Self {
            id: row.try_get("id")?,
            target_type: if task_run_id.is_some() { "task_run" } else { "run" },
            run_id: row.try_get("run_id")?,
            task_run_id,
            content: row.try_get("content")?,
            author: UserRef { id: row.try_get("author_id")?, name: row.try_get("author_name")? },
            edited: row.try_get("edited")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

const COLUMNS: &str =
    "select c.id, c.run_id, c.task_run_id, c.content, c.author_id, u.name as author_name, c.edited,
    c.created_at, c.updated_at from comments c join users u on u.id = c.author_id where c.space_id = ";

/// Some of the comments on a run or a task run, oldest first.
///
/// # Errors
/// When the database is away.
pub async fn list(
    db: &PgPool,
    space: SpaceId,
    target: Target,
    paging: Paging,
) -> sqlx::Result<Rows<Comment>> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push_bind(space);
    push_target(&mut sql, target);
    sql.push(" order by c.created_at, c.id limit ").push_bind(paging.limit());
    sql.push(" offset ").push_bind(paging.offset());
    let rows = sql.build_query_as().fetch_all(db).await?;
    let mut sql = QueryBuilder::new("select count(*) from comments c where c.space_id = ");
    sql.push_bind(space);
    push_target(&mut sql, target);
    let total = sql.build_query_scalar().fetch_one(db).await?;
    Ok(Rows { rows, total })
}

fn push_target(sql: &mut QueryBuilder<Postgres>, target: Target) {
    match target.task_run {
        Some(task_run) => sql.push(" and c.task_run_id = ").push_bind(task_run),
        None => sql.push(" and c.task_run_id is null and c.run_id = ").push_bind(target.run),
    };
}

/// One comment of a space, if what it is on is there: the run, and the task run where it is on one.
///
/// # Errors
/// When the database is away.
pub async fn get(db: &PgPool, space: SpaceId, comment: CommentId) -> sqlx::Result<Option<Comment>> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push_bind(space).push(" and c.id = ").push_bind(comment);
    sql.push(
        " and exists (select from runs where runs.id = c.run_id and runs.space_id = c.space_id)
          and (c.task_run_id is null or exists (
              select from task_runs t where t.id = c.task_run_id and t.space_id = c.space_id))",
    );
    sql.build_query_as().fetch_optional(db).await
}

/// Makes a comment; none when the run is not here, or not yet.
///
/// # Errors
/// When the database is away.
pub async fn create(
    db: &PgPool,
    space: SpaceId,
    target: Target,
    author: UserId,
    content: &str,
) -> sqlx::Result<Option<CommentId>> {
    let id = CommentId(Uuid::now_v7());
    let made = sqlx::query(
        "insert into comments (id, space_id, run_id, task_run_id, author_id, content)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(id)
    .bind(space)
    .bind(target.run)
    .bind(target.task_run)
    .bind(author)
    .bind(content)
    .execute(db)
    .await?;
    Ok((made.rows_affected() > 0).then_some(id))
}

/// Gives a comment another content; false when it is gone.
///
/// # Errors
/// When the database is away.
pub async fn update(db: &PgPool, space: SpaceId, comment: CommentId, content: &str) -> sqlx::Result<bool> {
    let updated = sqlx::query(
        "update comments set content = $3, edited = edited or content <> $3, updated_at = clock_timestamp()
         where id = $1 and space_id = $2",
    )
    .bind(comment)
    .bind(space)
    .bind(content)
    .execute(db)
    .await?;
    Ok(updated.rows_affected() > 0)
}

/// Deletes a comment; false when it is gone. That somebody deletes another's is written down, what it said is not.
///
/// # Errors
/// When the database is away.
pub async fn delete(db: &PgPool, space: SpaceId, user: UserId, comment: &Comment) -> sqlx::Result<bool> {
    let mut tx = db.begin().await?;
    let deleted = sqlx::query("delete from comments where id = $1 and space_id = $2")
        .bind(comment.id)
        .bind(space)
        .execute(&mut *tx)
        .await?;
    let is_deleted = deleted.rows_affected() > 0;
    if is_deleted && comment.author.id != user {
        let details = json!({
            "author_id": comment.author.id, "run_id": comment.run_id, "task_run_id": comment.task_run_id,
        });
        let act = AuditEvent::new(Actor::User(user), Action::CommentDeleted, comment.id, details);
        audit::record(&mut tx, space, &act).await?;
    }
    tx.commit().await?;
    Ok(is_deleted)
}
