//! Pipelines as the API returns them: the provider's facts, the space's governance, the latest run and the
//! metrics.

mod filter;
mod response;

use contract::ids::{PipelineId, SpaceId, UserId};
use derive_more::Display;
use platform::pipeline_metrics;
use sqlx::{PgPool, Postgres, QueryBuilder};
use strum::VariantArray;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

pub use self::filter::{ActiveFilter, PipelineFilter};
pub use self::response::{Pipeline, PipelineDetail, PipelineStatus};
use super::page::{Paging, Rows};
use super::schema::sort_keys;

/// The keys by which a list of pipelines can be sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, VariantArray)]
#[display(rename_all = "snake_case")]
pub enum PipelineSort {
    Name,
    LastRun,
    FailedCount,
    SuccessRate,
    AvgDuration,
}

impl PartialSchema for PipelineSort {
    fn schema() -> RefOr<Schema> {
        sort_keys(Self::VARIANTS)
    }
}

impl ToSchema for PipelineSort {}

impl PipelineSort {
    fn key(self) -> &'static str {
        match self {
            Self::Name => NAME_KEY,
            Self::LastRun => "latest.ordered_at",
            Self::FailedCount => "m.failed_count",
            Self::SuccessRate => SUCCESS_RATE,
            Self::AvgDuration => "m.avg_duration_seconds",
        }
    }

    fn needs_metrics(self) -> bool {
        matches!(self, Self::FailedCount | Self::SuccessRate | Self::AvgDuration)
    }
}

/// The filter, the order and the metrics window of a list of pipelines.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PipelineQuery {
    #[param(ignore)]
    pub filter: PipelineFilter,
    /// The latest run's status, or `never_run`
    #[param(required = false, inline)]
    pub status: Vec<PipelineStatus>,
    /// By what; a leading `-` descends, and what has no value comes last either way
    #[param(value_type = Option<PipelineSort>, inline)]
    pub sort: PipelineSort,
    #[param(ignore)]
    pub descending: bool,
    #[param(ignore)]
    pub window: MetricsWindow,
}

/// The runs that the metrics count.
#[derive(Clone, Copy, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MetricsWindow {
    /// The days that the metrics look back
    #[param(required = false, minimum = 1, maximum = 365, default = 30)]
    pub days: i32,
    /// Whether runs that the provider no longer has count too
    #[param(required = false)]
    pub include_deleted: bool,
}

const NAME_KEY: &str = r#"lower(p.name collate "und-x-icu") collate "C""#;

const SUCCESS_RATE: &str = "m.success_count::float8 / nullif(m.success_count + m.failed_count, 0)";

const LATEST: &str = " left join lateral (
    select r.id, r.ordered_at, r.status from runs r
    where r.pipeline_id = p.id and r.deleted_at is null
    order by r.ordered_at desc, r.id desc limit 1) latest on true";

const COLUMNS: &str =
    "select p.id, p.connector_id, c.name as connector_name, p.provider, p.external_id, p.name,
    p.description, p.owner, p.owners, p.tags, p.schedule, p.is_paused,
    p.is_active and c.deleted_at is null as is_active, coalesce(run.status, 'never_run') as status,
    g.criticality, case when t.id is not null then jsonb_build_object('id', t.id, 'name', t.name) end as team,
    w.user_id is not null as watched, p.external_url, p.next_run_at, run.id as run_id,
    run.external_id as run_external_id, run.provider_status as run_provider_status,
    run.run_type, run.started_at, run.ended_at, run.duration_seconds,
    m.run_count, m.success_count, m.failed_count, m.running_count, m.queued_count, m.avg_duration_seconds,
    m.success_count::float8 / nullif(m.success_count + m.failed_count, 0) as success_rate,
    m.percentiles[1] as p50_duration_seconds, m.percentiles[2] as p95_duration_seconds,
    m.last_success_at, m.last_failure_at, p.first_seen_at, p.observed_at as updated_at,
    case when p.deleted_at is null and coalesce(seen.absences, 0) = 0
        then greatest(p.observed_at, s.confirmed_at) else p.observed_at end as last_synced_at, ";

const JOINS: &str = " join connectors c on c.id = p.connector_id
    left join connector_state s on s.connector_id = p.connector_id
    left join pipeline_crawls seen on seen.connector_id = p.connector_id and seen.external_id = p.external_id
    left join pipeline_governance g on g.pipeline_id = p.id and g.space_id = p.space_id
    left join teams t on t.id = g.team_id
    left join lateral (
        select r.id, r.external_id, r.status, r.provider_status, r.run_type, r.started_at, r.ended_at,
            r.duration_seconds
        from runs r where r.pipeline_id = p.id and r.deleted_at is null
        order by r.ordered_at desc, r.id desc limit 1) run on true";

/// Lists a page of the pipelines of a space.
pub async fn list(
    db: &PgPool,
    space: SpaceId,
    user: UserId,
    query: &PipelineQuery,
    paging: Paging,
) -> sqlx::Result<Rows<Pipeline>> {
    let (total, ids) = find_page(db, space, user, query, paging).await?;
    let rows = if ids.is_empty() { Vec::new() } else { list_by_id(db, user, query.window, &ids).await? };
    Ok(Rows { rows, total })
}

/// Finds the number of pipelines that match the query, and the ids of those on the page.
async fn find_page(
    db: &PgPool,
    space: SpaceId,
    user: UserId,
    query: &PipelineQuery,
    paging: Paging,
) -> sqlx::Result<(i64, Vec<PipelineId>)> {
    let mut sql = QueryBuilder::new("with found as materialized (select p.id, ");
    sql.push(query.sort.key()).push(
        " as key from pipelines p join connectors c on c.id = p.connector_id
         left join pipeline_governance g on g.pipeline_id = p.id and g.space_id = p.space_id",
    );
    if !query.status.is_empty() || query.sort == PipelineSort::LastRun {
        sql.push(LATEST);
    }
    if query.sort.needs_metrics() {
        push_metrics(&mut sql, query.window);
    }
    query.filter.push(&mut sql, space, user);
    if !query.status.is_empty() {
        let statuses: Vec<String> = query.status.iter().map(ToString::to_string).collect();
        sql.push(" and coalesce(latest.status, 'never_run') = any(").push_bind(statuses).push(")");
    }
    sql.push(") select (select count(*) from found), array(select id from found order by key ")
        .push(if query.descending { "desc" } else { "asc" })
        .push(" nulls last, id limit ")
        .push_bind(paging.limit())
        .push(" offset ")
        .push_bind(paging.offset())
        .push(")");
    sql.build_query_as().fetch_one(db).await
}

/// Lists these pipelines, in the order of their ids.
async fn list_by_id(
    db: &PgPool,
    user: UserId,
    window: MetricsWindow,
    ids: &[PipelineId],
) -> sqlx::Result<Vec<Pipeline>> {
    let mut sql = columns(window);
    sql.push(" from unnest(").push_bind(ids.to_vec()).push(") with ordinality as page(id, position)");
    sql.push(" join pipelines p on p.id = page.id");
    push_joins(&mut sql, user, window);
    sql.push(" order by page.position");
    sql.build_query_as().fetch_all(db).await
}

/// Finds one pipeline of a space, with its provider metadata and task graph.
pub async fn find(
    db: &PgPool,
    space: SpaceId,
    user: UserId,
    pipeline: PipelineId,
    window: MetricsWindow,
) -> sqlx::Result<Option<PipelineDetail>> {
    let mut sql = columns(window);
    sql.push(", p.provider_metadata, p.tasks from pipelines p");
    push_joins(&mut sql, user, window);
    sql.push(" where p.id = ").push_bind(pipeline).push(" and p.space_id = ").push_bind(space);
    sql.build_query_as().fetch_optional(db).await
}

/// Returns whether the space has this pipeline.
pub async fn exists(db: &PgPool, space: SpaceId, pipeline: PipelineId) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from pipelines where id = $1 and space_id = $2)")
        .bind(pipeline)
        .bind(space)
        .fetch_one(db)
        .await
}

fn columns(window: MetricsWindow) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push_bind(window.days).push(" as days");
    sql
}

fn push_joins(sql: &mut QueryBuilder<Postgres>, user: UserId, window: MetricsWindow) {
    sql.push(JOINS);
    sql.push(" left join pipeline_watches w on w.pipeline_id = p.id and w.user_id = ").push_bind(user);
    push_metrics(sql, window);
}

/// Joins the metrics of `p` as `m`: the stored ones while they are valid, else counted now. The `limit` makes
/// PostgreSQL look the stored ones up one by one, instead of reading those of all spaces.
fn push_metrics(sql: &mut QueryBuilder<Postgres>, window: MetricsWindow) {
    if window.include_deleted || window.days != pipeline_metrics::WINDOW_DAYS {
        sql.push(" cross join lateral ");
        push_counted(sql, window);
        sql.push(" m");
        return;
    }
    sql.push(
        " left join lateral (
             select * from pipeline_metrics k
             where k.pipeline_id = p.id and k.counted_revision = k.revision and k.valid_until >= now() limit 1
         ) stored on true
         cross join lateral (
             select stored.run_count, stored.success_count, stored.failed_count, stored.running_count,
                 stored.queued_count, stored.avg_duration_seconds, stored.percentiles, stored.last_success_at,
                 stored.last_failure_at
             where stored.pipeline_id is not null
             union all
             select counted.run_count, counted.success_count, counted.failed_count, counted.running_count,
                 counted.queued_count, counted.avg_duration_seconds, counted.percentiles,
                 counted.last_success_at, counted.last_failure_at from ",
    );
    push_counted(sql, window);
    sql.push(" counted where stored.pipeline_id is null) m");
}

fn push_counted(sql: &mut QueryBuilder<Postgres>, window: MetricsWindow) {
    sql.push("run_metrics(p.id, now() - ").push_bind(window.days).push(" * interval '24 hours', ");
    // A literal, because only then PostgreSQL uses the partial index of runs that are not deleted.
    sql.push(if window.include_deleted { "true)" } else { "false)" });
}
