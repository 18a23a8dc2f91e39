//! Task runs as the API returns them.

use chrono::{DateTime, Utc};
use contract::ids::{RunId, SpaceId, TaskRunId};
use contract::state::TaskState;
use serde::Serialize;
use sqlx::{FromRow, PgPool, QueryBuilder};
use utoipa::ToSchema;

/// A task's run, or one mapped instance's.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct TaskRun {
    #[schema(value_type = Uuid)]
    pub id: TaskRunId,
    #[schema(value_type = Uuid)]
    pub run_id: RunId,
    pub task_id: String,
    /// Which instance of a mapped task, from 0; -1 for a task that is not mapped.
    pub map_index: i32,
    pub name: String,
    pub operator: Option<String>,
    pub status: TaskState,
    /// The provider's own word.
    pub provider_status: Option<String>,
    /// 0 before the first try.
    pub try_number: i32,
    pub max_tries: i32,
    pub queued_at: Option<DateTime<Utc>>,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub duration_seconds: Option<f64>,
    pub pool: Option<String>,
    pub queue: Option<String>,
    pub hostname: Option<String>,
    pub comment_count: i64,
    /// Since when the provider no longer has it.
    pub deleted_at: Option<DateTime<Utc>>,
}

const COLUMNS: &str =
    "select t.id, t.run_id, t.task_id, t.map_index, t.name, t.operator, t.status, t.provider_status,
    t.try_number, t.max_tries, t.queued_at, t.started_at, t.ended_at, t.duration_seconds, t.pool, t.queue,
    t.hostname, coalesce(commented.n, 0) as comment_count, t.deleted_at
    from task_runs t left join (
        select task_run_id, count(*) as n from comments where task_run_id is not null and ";

/// Lists all task runs of a run, by task and map index.
pub async fn list(
    db: &PgPool,
    space: SpaceId,
    run: RunId,
    include_deleted: bool,
) -> sqlx::Result<Vec<TaskRun>> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push("run_id = ")
        .push_bind(run)
        .push(" group by task_run_id) commented on commented.task_run_id = t.id");
    sql.push(" where t.run_id = ").push_bind(run).push(" and t.space_id = ").push_bind(space);
    // Two partial indexes cover the deleted and the other task runs; naming both halves lets PostgreSQL use
    // them.
    sql.push(if include_deleted {
        " and (t.deleted_at is null or t.deleted_at is not null)"
    } else {
        " and t.deleted_at is null"
    });
    sql.push(" order by t.task_id, t.map_index, t.id");
    sql.build_query_as().fetch_all(db).await
}

/// Finds one task run of a space.
pub async fn find(db: &PgPool, space: SpaceId, task_run: TaskRunId) -> sqlx::Result<Option<TaskRun>> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push("task_run_id = ").push_bind(task_run);
    sql.push(" group by task_run_id) commented on commented.task_run_id = t.id where t.id = ")
        .push_bind(task_run);
    sql.push(" and t.space_id = ").push_bind(space);
    sql.build_query_as().fetch_optional(db).await
}
