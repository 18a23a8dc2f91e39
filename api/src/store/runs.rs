//! Runs as the API shows them.

use chrono::{DateTime, Utc};
use derive_more::Display;
use serde::Serialize;
use serde_json::value::RawValue;
use shared::events::UserRef;
use shared::ids::{PipelineId, RunId, SpaceId, UserId};
use shared::state::{RunState, RunType};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgPool, Postgres, QueryBuilder, Row};

use utoipa::{IntoParams, ToSchema};

use super::pipelines::PipelineFilter;
use super::task_runs::TaskRun;
use crate::openapi::{Moment, Person, RunKind, RunOrder, RunStatus};
use crate::page::{Paging, Rows};

/// A run.
#[derive(Debug, Serialize, ToSchema)]
pub struct Run {
    #[schema(value_type = Uuid)]
    pub id: RunId,
    #[schema(value_type = Uuid)]
    pub pipeline_id: PipelineId,
    pub pipeline_name: String,
    pub external_id: String,
    #[schema(value_type = RunStatus)]
    pub status: String,
    /// The provider's own word.
    pub provider_status: Option<String>,
    #[schema(value_type = RunKind)]
    pub run_type: String,
    pub logical_date: Option<DateTime<Utc>>,
    pub data_interval_start: Option<DateTime<Utc>>,
    pub data_interval_end: Option<DateTime<Utc>>,
    /// The earliest time it may start.
    pub run_after: Option<DateTime<Utc>>,
    pub queued_at: Option<DateTime<Utc>>,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub duration_seconds: Option<f64>,
    /// The parameters it was given.
    #[schema(value_type = Object)]
    pub conf: Box<RawValue>,
    pub note: Option<String>,
    /// Who triggered it here.
    #[schema(value_type = Option<Person>)]
    pub triggered_by: Option<UserRef>,
    pub external_url: Option<String>,
    /// Its own comments, not its tasks'.
    pub comment_count: i64,
    /// How many task runs have each status.
    #[schema(value_type = HashMap<String, i64>)]
    pub task_counts: Box<RawValue>,
    /// Since when the provider no longer has it.
    pub deleted_at: Option<DateTime<Utc>>,
    /// When a sync last confirmed this against the provider, changed or not.
    pub last_synced_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A run and its task runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunDetail {
    #[serde(flatten)]
    pub run: Run,
    pub tasks: Vec<TaskRun>,
}

/// Which runs. From is inclusive, to is exclusive.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RunFilter {
    /// Started then or later: RFC 3339, or a date
    #[param(value_type = Option<Moment>, inline)]
    pub started_from: Option<DateTime<Utc>>,
    /// Started before then
    #[param(value_type = Option<Moment>, inline)]
    pub started_to: Option<DateTime<Utc>>,
    /// Ended then or later
    #[param(value_type = Option<Moment>, inline)]
    pub ended_from: Option<DateTime<Utc>>,
    /// Ended before then
    #[param(value_type = Option<Moment>, inline)]
    pub ended_to: Option<DateTime<Utc>>,
    /// The least duration, in seconds
    #[param(minimum = 0)]
    pub duration_min: Option<f64>,
    /// The greatest duration, in seconds
    #[param(minimum = 0)]
    pub duration_max: Option<f64>,
    #[param(required = false, value_type = Vec<RunStatus>, inline)]
    pub status: Vec<RunState>,
    #[param(required = false, value_type = Vec<RunKind>, inline)]
    pub run_type: Vec<RunType>,
    /// The id of the person who triggered it here
    #[param(value_type = Option<Uuid>)]
    pub triggered_by: Option<UserId>,
    /// Text in the provider's run id, in any case
    pub run_id: Option<String>,
    /// Whether those that the provider no longer has are shown too
    #[param(required = false)]
    pub include_deleted: bool,
}

/// What a list of runs can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display)]
#[display(rename_all = "snake_case")]
pub enum RunSort {
    StartedAt,
    EndedAt,
    DurationSeconds,
}

impl RunSort {
    pub const ALL: [Self; 3] = [Self::StartedAt, Self::EndedAt, Self::DurationSeconds];
}

/// Which runs, in which order.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RunQuery {
    #[param(ignore)]
    pub filter: RunFilter,
    /// By what, newest first if by nothing; a leading `-` descends, and what has no value comes last either way
    #[param(value_type = Option<RunOrder>, inline)]
    pub sort: Option<(RunSort, bool)>,
}

/// Whose runs.
#[derive(Debug)]
pub enum RunsOf<'a> {
    Pipeline(PipelineId),
    /// Those of all pipelines of the space that the filter lets through.
    Space(&'a PipelineFilter),
}

const COLUMNS: &str =
    "select r.id, r.pipeline_id, coalesce(p.name, '') as pipeline_name, r.external_id, r.status,
    r.provider_status, r.run_type, r.logical_date, r.data_interval_start, r.data_interval_end, r.run_after,
    r.queued_at, r.started_at, r.ended_at, r.duration_seconds, r.conf, r.note, r.triggered_by_id,
    r.triggered_by_name, r.external_url, r.deleted_at, r.observed_at as updated_at,
    case when r.deleted_at is null then greatest(r.observed_at, s.confirmed_at) else r.observed_at end
        as last_synced_at,
    (select count(*) from comments where comments.run_id = r.id and comments.task_run_id is null)
        as comment_count,
    (select coalesce(jsonb_object_agg(counted.status, counted.n), '{}') from (
        select tr.status, count(*) as n from task_runs tr where tr.run_id = r.id";

const COUNTED: &str = " group by tr.status) counted) as task_counts";

const JOINS: &str = " left join pipelines p on p.id = r.pipeline_id
    left join connector_state s on s.connector_id = r.connector_id";

/// Some of the runs of a space or of a pipeline in it; none when the space has no such pipeline.
///
/// # Errors
/// When the database is away.
pub async fn list(
    db: &PgPool,
    space: SpaceId,
    user: UserId,
    of: &RunsOf<'_>,
    query: &RunQuery,
    paging: Paging,
) -> sqlx::Result<Option<Rows<Run>>> {
    let mut sql = columns(query.filter.include_deleted);
    sql.push(", (");
    push_total(&mut sql, space, user, of, &query.filter);
    sql.push(") as total from (select r.id");
    push_found(&mut sql, space, user, of, &query.filter);
    push_order(&mut sql, query.sort);
    sql.push(" limit ").push_bind(paging.limit()).push(" offset ").push_bind(paging.offset());
    sql.push(") page join runs r on r.id = page.id")
        .push(JOINS)
        .push(" where r.space_id = ")
        .push_bind(space);
    push_order(&mut sql, query.sort);
    let rows = sql.build().fetch_all(db).await?;
    match rows.first() {
        Some(row) => {
            let total = row.try_get("total")?;
            Ok(Some(Rows { rows: rows.iter().map(Run::read).collect::<sqlx::Result<_>>()?, total }))
        }
        None => count(db, space, user, of, &query.filter).await,
    }
}

/// A page without rows: past the end, of an empty list, or of a pipeline that is not there.
async fn count(
    db: &PgPool,
    space: SpaceId,
    user: UserId,
    of: &RunsOf<'_>,
    filter: &RunFilter,
) -> sqlx::Result<Option<Rows<Run>>> {
    if let RunsOf::Pipeline(pipeline) = of
        && !super::pipelines::exists(db, space, *pipeline).await?
    {
        return Ok(None);
    }
    let mut sql = QueryBuilder::new("");
    push_total(&mut sql, space, user, of, filter);
    let total = sql.build_query_scalar().fetch_one(db).await?;
    Ok(Some(Rows { rows: Vec::new(), total }))
}

/// One run of a space, its task runs aside.
///
/// # Errors
/// When the database is away.
pub async fn get(
    db: &PgPool,
    space: SpaceId,
    run: RunId,
    include_deleted: bool,
) -> sqlx::Result<Option<Run>> {
    let mut sql = columns(include_deleted);
    sql.push(" from runs r").push(JOINS);
    sql.push(" where r.id = ").push_bind(run).push(" and r.space_id = ").push_bind(space);
    let row = sql.build().fetch_optional(db).await?;
    row.as_ref().map(Run::read).transpose()
}

/// Whether the space has this run, one that the provider no longer has included.
///
/// # Errors
/// When the database is away.
pub async fn exists(db: &PgPool, space: SpaceId, run: RunId) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from runs where id = $1 and space_id = $2)")
        .bind(run)
        .bind(space)
        .fetch_one(db)
        .await
}

/// Each half of the task runs has an index of its own, which serves whoever names it.
fn columns(include_deleted: bool) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push(match include_deleted {
        true => " and (tr.deleted_at is null or tr.deleted_at is not null)",
        false => " and tr.deleted_at is null",
    });
    sql.push(COUNTED);
    sql
}

fn push_order(sql: &mut QueryBuilder<Postgres>, sort: Option<(RunSort, bool)>) {
    match sort {
        None => sql.push(" order by r.ordered_at desc, r.id desc"),
        Some((key, true)) => sql.push(format_args!(" order by r.{key} desc nulls last, r.id desc")),
        Some((key, false)) => sql.push(format_args!(" order by r.{key} asc nulls last, r.id asc")),
    };
}

/// How many runs are found: added up where that is enough, else counted.
fn push_total(
    sql: &mut QueryBuilder<Postgres>,
    space: SpaceId,
    user: UserId,
    of: &RunsOf<'_>,
    filter: &RunFilter,
) {
    if !filter.asks_status_alone() {
        sql.push("select count(*)");
        return push_found(sql, space, user, of, filter);
    }
    sql.push("select coalesce(sum(r.n), 0)::bigint from run_counts r");
    push_of(sql, space, user, of);
    if !filter.include_deleted {
        sql.push(" and not r.is_deleted");
    }
    filter.push_status(sql);
}

fn push_found(
    sql: &mut QueryBuilder<Postgres>,
    space: SpaceId,
    user: UserId,
    of: &RunsOf<'_>,
    filter: &RunFilter,
) {
    sql.push(" from runs r");
    push_of(sql, space, user, of);
    filter.push(sql);
}

fn push_of(sql: &mut QueryBuilder<Postgres>, space: SpaceId, user: UserId, of: &RunsOf<'_>) {
    match of {
        RunsOf::Pipeline(pipeline) => {
            sql.push(" where r.pipeline_id = ").push_bind(*pipeline);
        }
        RunsOf::Space(pipelines) => {
            sql.push(" where r.space_id = ").push_bind(space);
            if !pipelines.is_open() {
                sql.push(
                    " and r.pipeline_id in (select p.id from pipelines p join connectors c on c.id = p.connector_id
                     left join pipeline_governance g on g.pipeline_id = p.id and g.space_id = p.space_id",
                );
                pipelines.push(sql, space, user);
                sql.push(")");
            }
        }
    }
}

impl RunFilter {
    fn asks_status_alone(&self) -> bool {
        matches!(
            self,
            Self {
                started_from: None,
                started_to: None,
                ended_from: None,
                ended_to: None,
                duration_min: None,
                duration_max: None,
                triggered_by: None,
                run_id: None,
                run_type,
                status: _,
                include_deleted: _,
            } if run_type.is_empty()
        )
    }

    fn push_status(&self, sql: &mut QueryBuilder<Postgres>) {
        if !self.status.is_empty() {
            sql.push(" and r.status = any(").push_bind(words(&self.status)).push(")");
        }
    }

    fn push(&self, sql: &mut QueryBuilder<Postgres>) {
        if !self.include_deleted {
            sql.push(" and r.deleted_at is null");
        }
        let times = [
            (" and r.started_at >= ", self.started_from),
            (" and r.started_at < ", self.started_to),
            (" and r.ended_at >= ", self.ended_from),
            (" and r.ended_at < ", self.ended_to),
        ];
        for (condition, time) in times {
            if let Some(time) = time {
                sql.push(condition).push_bind(time);
            }
        }
        if let Some(seconds) = self.duration_min {
            sql.push(" and r.duration_seconds >= ").push_bind(seconds);
        }
        if let Some(seconds) = self.duration_max {
            sql.push(" and r.duration_seconds <= ").push_bind(seconds);
        }
        self.push_status(sql);
        if !self.run_type.is_empty() {
            sql.push(" and r.run_type = any(").push_bind(words(&self.run_type)).push(")");
        }
        if let Some(user) = self.triggered_by {
            sql.push(" and r.triggered_by_id = ").push_bind(user);
        }
        if let Some(text) = &self.run_id {
            sql.push(r#" and strpos(lower(r.external_id collate "und-x-icu"), lower("#)
                .push_bind(text.clone())
                .push(r#" collate "und-x-icu")) > 0"#);
        }
    }
}

fn words<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

impl Run {
    fn read(row: &PgRow) -> sqlx::Result<Self> {
        let triggered_by = row.try_get::<Option<UserId>, _>("triggered_by_id")?;
        let triggered_by_name = row.try_get::<Option<String>, _>("triggered_by_name")?;
        Ok(Self {
            id: row.try_get("id")?,
            pipeline_id: row.try_get("pipeline_id")?,
            pipeline_name: row.try_get("pipeline_name")?,
            external_id: row.try_get("external_id")?,
            status: row.try_get("status")?,
            provider_status: row.try_get("provider_status")?,
            run_type: row.try_get("run_type")?,
            logical_date: row.try_get("logical_date")?,
            data_interval_start: row.try_get("data_interval_start")?,
            data_interval_end: row.try_get("data_interval_end")?,
            run_after: row.try_get("run_after")?,
            queued_at: row.try_get("queued_at")?,
            started_at: row.try_get("started_at")?,
            ended_at: row.try_get("ended_at")?,
            duration_seconds: row.try_get("duration_seconds")?,
            conf: row.try_get::<Json<_>, _>("conf")?.0,
            note: row.try_get("note")?,
            triggered_by: triggered_by.map(|id| UserRef { id, name: triggered_by_name.unwrap_or_default() }),
            external_url: row.try_get("external_url")?,
            comment_count: row.try_get("comment_count")?,
            task_counts: row.try_get::<Json<_>, _>("task_counts")?.0,
            deleted_at: row.try_get("deleted_at")?,
            last_synced_at: row.try_get("last_synced_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}
