//! Comments on runs and task runs. They belong to the space and outlive every sync and rebuild.

use chrono::{DateTime, Utc};
use contract::events::UserRef;
use contract::ids::{CommentId, RunId, SpaceId, TaskRunId, UserId};
use platform::audit::{self, Action, Actor, AuditEvent};
use serde::Serialize;
use serde_json::json;
use sqlx::{FromRow, PgPool, Postgres, QueryBuilder};
use utoipa::ToSchema;
use uuid::Uuid;

use super::page::{Paging, Rows};

/// A comment.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct Comment {
    #[schema(value_type = Uuid)]
    pub id: CommentId,
    /// `run` or `task_run`.
    pub target_type: String,
    /// On a task run, its run's.
    #[schema(value_type = Uuid)]
    pub run_id: RunId,
    #[schema(value_type = Option<Uuid>)]
    pub task_run_id: Option<TaskRunId>,
    /// As it was given.
    pub content: String,
    #[sqlx(json)]
    pub author: UserRef,
    pub edited: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// The run or task run that a comment belongs to.
#[derive(Clone, Copy, Debug)]
pub struct CommentTarget {
    pub run: RunId,
    /// None for a comment on the run itself.
    pub task_run: Option<TaskRunId>,
}

const COLUMNS: &str =
    "select c.id, case when c.task_run_id is null then 'run' else 'task_run' end as target_type,
    c.run_id, c.task_run_id, c.content, jsonb_build_object('id', u.id, 'name', u.name) as author, c.edited,
    c.created_at, c.updated_at from comments c join users u on u.id = c.author_id where c.space_id = ";

/// Lists a page of the comments on a run or a task run, oldest first.
pub async fn list(
    db: &PgPool,
    space: SpaceId,
    target: CommentTarget,
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

fn push_target(sql: &mut QueryBuilder<Postgres>, target: CommentTarget) {
    match target.task_run {
        Some(task_run) => sql.push(" and c.task_run_id = ").push_bind(task_run),
        None => sql.push(" and c.task_run_id is null and c.run_id = ").push_bind(target.run),
    };
}

/// Finds one comment of a space. None also when its run or task run no longer exists.
pub async fn find(db: &PgPool, space: SpaceId, comment: CommentId) -> sqlx::Result<Option<Comment>> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push_bind(space).push(" and c.id = ").push_bind(comment);
    sql.push(
        " and exists (select from runs where runs.id = c.run_id and runs.space_id = c.space_id)
          and (c.task_run_id is null or exists (
              select from task_runs t where t.id = c.task_run_id and t.space_id = c.space_id))",
    );
    sql.build_query_as().fetch_optional(db).await
}

/// Inserts a comment; none when no row was inserted.
pub async fn insert(
    db: &PgPool,
    space: SpaceId,
    target: CommentTarget,
    author: UserId,
    content: &str,
) -> sqlx::Result<Option<CommentId>> {
    let id = CommentId(Uuid::now_v7());
    let inserted = sqlx::query(
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
    Ok((inserted.rows_affected() > 0).then_some(id))
}

/// Replaces the content of a comment; false when the comment no longer exists.
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

/// Deletes a comment; false when it no longer exists. Deleting another user's comment is audited, without its
/// content.
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
        let event = AuditEvent::new(Actor::User(user), Action::CommentDeleted, comment.id, details);
        audit::insert(&mut tx, space, &event).await?;
    }
    tx.commit().await?;
    Ok(is_deleted)
}
