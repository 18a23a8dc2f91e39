//! Runs as the API returns them.

mod conf;
mod detail;
mod each_pipeline;
mod filter;
mod response;
mod selection;
mod text;

use contract::ids::{PipelineId, RunId, SpaceId, UserId};
use derive_more::Display;
use sqlx::{PgPool, Postgres, QueryBuilder, Row};
use strum::VariantArray;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

pub use self::detail::{RunRead, find, find_small};
pub use self::filter::RunFilter;
pub use self::response::{Run, RunDetail, RunSummary};
use self::selection::Selection;
use super::page::{KeyKind, ListOrder, Paging, Rows, Total};
use super::pipelines::PipelineFilter;
use super::schema::sort_keys;

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

impl RunQuery {
    /// Returns the order of the list.
    pub fn order(&self) -> ListOrder {
        let by = |key, kind| ListOrder::by(key, kind, "r.id").nullable();
        let (order, descends) = match self.sort {
            None => (ListOrder::by("r.ordered_at", KeyKind::Time, "r.id"), true),
            Some((RunSort::StartedAt, descends)) => (by("r.started_at", KeyKind::Time), descends),
            Some((RunSort::EndedAt, descends)) => (by("r.ended_at", KeyKind::Time), descends),
            Some((RunSort::DurationSeconds, descends)) => {
                (by("r.duration_seconds", KeyKind::Number), descends)
            }
        };
        if descends { order.descending() } else { order }
    }
}

/// The pipelines whose runs are listed.
#[derive(Debug)]
pub enum RunsOf<'a> {
    Pipeline(PipelineId),
    /// The pipelines of the space that match the filter.
    Space(&'a PipelineFilter),
}

const COLUMNS: &str =
    "select r.id, r.pipeline_id, coalesce(p.name, '') as pipeline_name, r.external_id, r.status,
    r.provider_status, r.run_type, r.logical_date, r.data_interval_start, r.data_interval_end, r.run_after,
    r.queued_at, r.started_at, r.ended_at, r.duration_seconds,
    coalesce(r.conf_bytes, 0) as conf_bytes,
    case when octet_length(r.note) <= 2048 or sum(octet_length(r.note)) over () <= 1048576
        then r.note end as note,
    case when r.triggered_by_id is not null then jsonb_build_object('id', r.triggered_by_id,
        'name', coalesce(r.triggered_by_name, '')) end as triggered_by, r.external_url, r.deleted_at,
    r.observed_at as updated_at,
    case when r.deleted_at is null and p.deleted_at is null and coalesce(seen.absences, 0) = 0
        then greatest(r.observed_at, s.confirmed_at) else r.observed_at end as last_synced_at,
    (select count(*) from comments where comments.run_id = r.id and comments.task_run_id is null)
        as comment_count,
    (select coalesce(jsonb_object_agg(counted.status, counted.n), '{}') from (
        select tr.status, count(*) as n
        from (select tr.status from task_runs tr where tr.run_id = r.id";

const COUNTED_BY_STATUS: &str = ") tr group by tr.status) counted) as task_counts, ";

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
    paging: &Paging,
) -> sqlx::Result<Option<Rows<Run>>> {
    let selection = Selection::find(db, space, user, of, &query.filter).await?;
    // The number of all runs is read with the page, in one statement.
    let size = if selection.is_whole() { None } else { Some(selection.count(db).await?) };
    let mut sql = columns(query.filter.include_deleted, "", conf::LISTED);
    paging.push_key(&mut sql);
    if size.is_none() {
        sql.push(", (");
        selection.push_whole_count(&mut sql);
        sql.push(") as total");
    }
    sql.push(" from (");
    match size {
        Some(size) => selection.push_page(&mut sql, paging, size),
        None => selection.push_walk(&mut sql, paging),
    }
    sql.push(") page join runs r on r.id = page.id")
        .push(JOINS)
        .push(" where r.space_id = ")
        .push_bind(space);
    paging.push_order(&mut sql);
    let rows = sql.build().persistent(size.is_none()).fetch_all(db).await?;
    let total = match (size, rows.first()) {
        (Some(size), _) => size.total,
        (None, Some(row)) => Total::exact(row.try_get("total")?),
        (None, None) => selection.count(db).await?.total,
    };
    if let (RunsOf::Pipeline(pipeline), true) = (of, rows.is_empty())
        && !super::pipelines::exists(db, space, *pipeline).await?
    {
        return Ok(None);
    }
    let page: Rows<Run> = paging.rows(rows, total)?;
    let rows = conf::measure(db, space, page.rows).await?;
    Ok(Some(Rows { rows, ..page }))
}

/// Returns whether the space has this run. A run that the provider no longer has counts, too.
pub async fn exists(db: &PgPool, space: SpaceId, run: RunId) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from runs where id = $1 and space_id = $2)")
        .bind(run)
        .bind(space)
        .fetch_one(db)
        .await
}

/// Selects the columns, and counts the task runs up to a limit, if there is one. Two partial indexes cover
/// the deleted and the other task runs; naming both halves lets PostgreSQL use them.
fn columns(include_deleted: bool, task_limit: &str, conf: &'static str) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push(if include_deleted {
        " and (tr.deleted_at is null or tr.deleted_at is not null)"
    } else {
        " and tr.deleted_at is null"
    });
    sql.push(task_limit).push(COUNTED_BY_STATUS).push(conf);
    sql
}
