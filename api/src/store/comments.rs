//! Comments on runs, task runs and incidents. They belong to the space and outlive every sync and rebuild.

use chrono::{DateTime, Utc};
use contract::events::{CommentChanged, UserRef};
use contract::ids::{CommentId, IncidentId, RunId, SpaceId, TaskRunId, UserId};
use platform::audit::{self, Action, Actor, AuditEvent};
use platform::outbox;
use serde::Serialize;
use serde_json::json;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgPool, Postgres, QueryBuilder};
use utoipa::ToSchema;
use uuid::Uuid;

use super::page::{self, KeyKind, ListOrder, LongList, Paging, Rows};

/// A comment.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct Comment {
    #[schema(value_type = Uuid)]
    pub id: CommentId,
    /// `run`, `task_run` or `incident`.
    pub target_type: String,
    /// On a task run, its run's; null on an incident.
    #[schema(value_type = Option<Uuid>)]
    pub run_id: Option<RunId>,
    #[schema(value_type = Option<Uuid>)]
    pub task_run_id: Option<TaskRunId>,
    #[schema(value_type = Option<Uuid>)]
    pub incident_id: Option<IncidentId>,
    /// As it was given.
    pub content: String,
    #[sqlx(json)]
    pub author: UserRef,
    pub edited: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What a comment belongs to.
#[derive(Clone, Copy, Debug)]
pub enum CommentTarget {
    Run(RunId),
    /// A task run of a run.
    TaskRun(RunId, TaskRunId),
    Incident(IncidentId),
}

const COLUMNS: &str =
    "select c.id, case when c.incident_id is not null then 'incident' when c.task_run_id is null then 'run'
        else 'task_run' end as target_type,
    c.run_id, c.task_run_id, c.incident_id, c.content,
    jsonb_build_object('id', u.id, 'name', u.name) as author, c.edited, c.created_at, c.updated_at";

const COMMENTS: LongList =
    LongList { columns: COLUMNS, table: "comments c", joins: " join users u on u.id = c.author_id" };

/// The order of comments: oldest first.
pub const ORDER: ListOrder = ListOrder::by("c.created_at", KeyKind::Time, "c.id");

/// Lists a page of the comments on a run, a task run or an incident, oldest first.
pub async fn list(
    db: &PgPool,
    space: SpaceId,
    target: CommentTarget,
    paging: &Paging,
) -> sqlx::Result<Rows<Comment>> {
    page::read_long(db, paging, COMMENTS, |sql| {
        sql.push(" where c.space_id = ").push_bind(space);
        push_target(sql, target);
    })
    .await
}

fn push_target(sql: &mut QueryBuilder<Postgres>, target: CommentTarget) {
    match target {
        CommentTarget::Run(run) => sql.push(" and c.task_run_id is null and c.run_id = ").push_bind(run),
        CommentTarget::TaskRun(_, task_run) => sql.push(" and c.task_run_id = ").push_bind(task_run),
        CommentTarget::Incident(incident) => sql.push(" and c.incident_id = ").push_bind(incident),
    };
}

/// Finds one comment of a space. None also when what it belongs to no longer exists.
pub async fn find(db: &PgPool, space: SpaceId, comment: CommentId) -> sqlx::Result<Option<Comment>> {
    let mut sql = COMMENTS.select();
    sql.push(" where c.space_id = ").push_bind(space).push(" and c.id = ").push_bind(comment);
    sql.push(
        " and (c.incident_id is not null
              or exists (select from runs where runs.id = c.run_id and runs.space_id = c.space_id))
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
    let (run, task_run, incident) = match target {
        CommentTarget::Run(run) => (Some(run), None, None),
        CommentTarget::TaskRun(run, task_run) => (Some(run), Some(task_run), None),
        CommentTarget::Incident(incident) => (None, None, Some(incident)),
    };
    let mut tx = db.begin().await?;
    let inserted = sqlx::query(
        "insert into comments (id, space_id, run_id, task_run_id, incident_id, author_id, content)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(id)
    .bind(space)
    .bind(run)
    .bind(task_run)
    .bind(incident)
    .bind(author)
    .bind(content)
    .execute(&mut *tx)
    .await?;
    publish(&mut tx, &[id], false).await?;
    tx.commit().await?;
    Ok((inserted.rows_affected() > 0).then_some(id))
}

/// Replaces the content of a comment; false when the comment no longer exists.
pub async fn update(db: &PgPool, space: SpaceId, comment: CommentId, content: &str) -> sqlx::Result<bool> {
    let mut tx = db.begin().await?;
    let updated = sqlx::query(
        "update comments set content = $3, edited = edited or content <> $3, updated_at = clock_timestamp()
         where id = $1 and space_id = $2",
    )
    .bind(comment)
    .bind(space)
    .bind(content)
    .execute(&mut *tx)
    .await?;
    let is_updated = updated.rows_affected() > 0;
    if is_updated {
        publish(&mut tx, &[comment], false).await?;
    }
    tx.commit().await?;
    Ok(is_updated)
}

/// Deletes a comment; false when it no longer exists. Deleting another user's comment is audited, without its
/// content.
pub async fn delete(db: &PgPool, space: SpaceId, user: UserId, comment: &Comment) -> sqlx::Result<bool> {
    let mut tx = db.begin().await?;
    // The event is made from the row, and the lock orders it behind the event of an edit.
    let locked = sqlx::query("select from comments where id = $1 and space_id = $2 for update");
    if locked.bind(comment.id).bind(space).fetch_optional(&mut *tx).await?.is_none() {
        return Ok(false);
    }
    publish(&mut tx, &[comment.id], true).await?;
    let delete = sqlx::query("delete from comments where id = $1 and space_id = $2");
    delete.bind(comment.id).bind(space).execute(&mut *tx).await?;
    if comment.author.id != user {
        let details = json!({
            "author_id": comment.author.id, "run_id": comment.run_id, "task_run_id": comment.task_run_id,
            "incident_id": comment.incident_id,
        });
        let event = AuditEvent::new(Actor::User(user), Action::CommentDeleted, comment.id, details);
        audit::insert(&mut tx, space, &event).await?;
    }
    tx.commit().await?;
    Ok(true)
}

/// Inserts the state of comments into the outbox, within the transaction that changes or locks them. The text
/// of deleted comments is left out.
pub(super) async fn publish(
    db: &mut PgConnection,
    comments: &[CommentId],
    deleted: bool,
) -> sqlx::Result<()> {
    let changed: Vec<Json<CommentChanged>> = sqlx::query_scalar(
        "select jsonb_build_object('id', c.id, 'space', s.slug,
             'connector_id', coalesce(r.connector_id, i.connector_id),
             'version', nextval('observation_version'), 'observed_at', clock_timestamp(), 'deleted', $2,
             'target_type', case when c.incident_id is not null then 'incident'
                 when c.task_run_id is null then 'run' else 'task_run' end,
             'pipeline_id', coalesce(r.pipeline_id, i.pipeline_id), 'run_id', c.run_id,
             'task_run_id', c.task_run_id, 'incident_id', c.incident_id,
             'content', case when not $2 then c.content end,
             'author', jsonb_build_object('id', u.id, 'name', u.name), 'edited', c.edited,
             'created_at', c.created_at, 'updated_at', c.updated_at)
         from comments c
         join spaces s on s.id = c.space_id
         left join runs r on r.id = c.run_id and r.space_id = c.space_id
         left join incidents i on i.id = c.incident_id and i.space_id = c.space_id
         join users u on u.id = c.author_id
         where c.id = any($1) and (r.id is not null or i.id is not null)",
    )
    .bind(comments)
    .bind(deleted)
    .fetch_all(&mut *db)
    .await?;
    for Json(event) in changed {
        outbox::enqueue(db, &event).await?;
    }
    Ok(())
}
