//! Runs as the API returns them.

mod filter;
mod response;

use contract::ids::{PipelineId, RunId, SpaceId, UserId};
use derive_more::Display;
use sqlx::{FromRow, PgPool, Postgres, QueryBuilder, Row};
use strum::VariantArray;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

pub use self::filter::RunFilter;
pub use self::response::{Run, RunDetail};
use super::page::{Paging, Rows};
use super::pipelines::PipelineFilter;
use super::schema::sort_keys;
use super::task_runs;

/// The keys by which a list of runs can be sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, VariantArray)]
#[display(rename_all = "snake_case")]
pub enum RunSort {
    StartedAt,
    EndedAt,
    DurationSeconds,
}

impl PartialSchema for RunSort {
    fn schema() -> RefOr<Schema> {
        sort_keys(Self::VARIANTS)
    }
}

impl ToSchema for RunSort {}

/// The filter and the order of a list of runs.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RunQuery {
    #[param(ignore)]
    pub filter: RunFilter,
    #[doc = "By what, newest first if by nothing; a leading `-` descends, and what has no value comes last \
             either way"]
    #[param(value_type = Option<RunSort>, inline)]
    pub sort: Option<(RunSort, bool)>,
}

/// The pipelines whose runs are listed.
#[derive(Debug)]
pub enum RunsOf<'a> {
    Pipeline(PipelineId),
    /// The pipelines of the space that match the filter.
    Space(&'a PipelineFilter),
}

/// In bytes of compact JSON: a larger `conf` is not part of a list.
const MAX_LISTED_CONF: usize = 16 * 1024;

const COLUMNS: &str =
    "select r.id, r.pipeline_id, coalesce(p.name, '') as pipeline_name, r.external_id, r.status,
    r.provider_status, r.run_type, r.logical_date, r.data_interval_start, r.data_interval_end, r.run_after,
    r.queued_at, r.started_at, r.ended_at, r.duration_seconds, r.conf,
    coalesce(r.conf_bytes, 0) as conf_bytes, r.note,
    case when r.triggered_by_id is not null then jsonb_build_object('id', r.triggered_by_id,
        'name', coalesce(r.triggered_by_name, '')) end as triggered_by, r.external_url, r.deleted_at,
    r.observed_at as updated_at,
    case when r.deleted_at is null and p.deleted_at is null and coalesce(seen.absences, 0) = 0
        then greatest(r.observed_at, s.confirmed_at) else r.observed_at end as last_synced_at,
    (select count(*) from comments where comments.run_id = r.id and comments.task_run_id is null)
        as comment_count,
    (select coalesce(jsonb_object_agg(counted.status, counted.n), '{}') from (
        select tr.status, count(*) as n from task_runs tr where tr.run_id = r.id";

const COUNTED_BY_STATUS: &str = " group by tr.status) counted) as task_counts";

const JOINS: &str = " left join pipelines p on p.id = r.pipeline_id
    left join connector_state s on s.connector_id = r.connector_id
    left join pipeline_crawls seen
        on seen.connector_id = p.connector_id and seen.external_id = p.external_id";

/// Lists a page of the runs of a space or of one of its pipelines; none when the space has no such pipeline.
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
    push_matching(&mut sql, space, user, of, &query.filter);
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
            let runs = rows.iter().map(|row| Ok(Run::from_row(row)?.with_conf_of_at_most(MAX_LISTED_CONF)));
            Ok(Some(Rows { rows: runs.collect::<sqlx::Result<_>>()?, total }))
        }
        None => empty_page(db, space, user, of, &query.filter).await,
    }
}

/// Returns the total of a page without rows: a page past the end, or an empty list. None when the pipeline
/// does not exist.
async fn empty_page(
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

/// Finds one run of a space with its task runs.
pub async fn find(
    db: &PgPool,
    space: SpaceId,
    run: RunId,
    include_deleted: bool,
) -> sqlx::Result<Option<RunDetail>> {
    let mut sql = columns(include_deleted);
    sql.push(" from runs r").push(JOINS);
    sql.push(" where r.id = ").push_bind(run).push(" and r.space_id = ").push_bind(space);
    let Some(run) = sql.build_query_as::<Run>().fetch_optional(db).await? else {
        return Ok(None);
    };
    let tasks = task_runs::list(db, space, run.id, include_deleted).await?;
    Ok(Some(RunDetail { run: run.with_conf_of_at_most(usize::MAX), tasks }))
}

/// Returns whether the space has this run. A run that the provider no longer has counts, too.
pub async fn exists(db: &PgPool, space: SpaceId, run: RunId) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from runs where id = $1 and space_id = $2)")
        .bind(run)
        .bind(space)
        .fetch_one(db)
        .await
}

/// Selects the columns. Two partial indexes cover the deleted and the other task runs; naming both halves
/// lets PostgreSQL use them.
fn columns(include_deleted: bool) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push(if include_deleted {
        " and (tr.deleted_at is null or tr.deleted_at is not null)"
    } else {
        " and tr.deleted_at is null"
    });
    sql.push(COUNTED_BY_STATUS);
    sql
}

fn push_order(sql: &mut QueryBuilder<Postgres>, sort: Option<(RunSort, bool)>) {
    match sort {
        None => sql.push(" order by r.ordered_at desc, r.id desc"),
        Some((key, true)) => sql.push(format_args!(" order by r.{key} desc nulls last, r.id desc")),
        Some((key, false)) => sql.push(format_args!(" order by r.{key} asc nulls last, r.id asc")),
    };
}

/// Adds the total: the sum of the stored counts where the filter allows it, else a count of the rows.
fn push_total(
    sql: &mut QueryBuilder<Postgres>,
    space: SpaceId,
    user: UserId,
    of: &RunsOf<'_>,
    filter: &RunFilter,
) {
    if !filter.is_status_only() {
        sql.push("select count(*)");
        return push_matching(sql, space, user, of, filter);
    }
    sql.push("select coalesce(sum(r.n), 0)::bigint from run_counts r");
    push_of(sql, space, user, of);
    if !filter.include_deleted {
        sql.push(" and not r.is_deleted");
    }
    filter.push_status(sql);
}

fn push_matching(
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
            if !pipelines.is_empty() {
                sql.push(
                    " and r.pipeline_id in (select p.id from pipelines p
                     join connectors c on c.id = p.connector_id
                     left join pipeline_governance g on g.pipeline_id = p.id and g.space_id = p.space_id",
                );
                pipelines.push(sql, space, user);
                sql.push(")");
            }
        }
    }
}
