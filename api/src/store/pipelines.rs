//! Pipelines as the API shows them: what the provider said, what the space decided, the latest run and the metrics.

mod filter;
mod response;

use contract::ids::{PipelineId, SpaceId, UserId};
use derive_more::Display;
use platform::pipeline_metrics;
use sqlx::types::Json;
use sqlx::{PgPool, Postgres, QueryBuilder, Row};
use utoipa::IntoParams;

pub use self::filter::PipelineFilter;
pub use self::response::{LastRun, Metrics, Pipeline, PipelineDetail, TaskNode};
use crate::http::pagination::{Paging, Rows};
use crate::openapi::{PipelineOrder, PipelineStatus};

/// What a list of pipelines can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display)]
#[display(rename_all = "snake_case")]
pub enum PipelineSort {
    Name,
    LastRun,
    FailedCount,
    SuccessRate,
    AvgDuration,
}

impl PipelineSort {
    pub const ALL: [Self; 5] =
        [Self::Name, Self::LastRun, Self::FailedCount, Self::SuccessRate, Self::AvgDuration];

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

/// Which pipelines, in which order, with metrics of which window.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PipelineQuery {
    #[param(ignore)]
    pub filter: PipelineFilter,
    /// The latest run's status, or `never_run`
    #[param(required = false, value_type = Vec<PipelineStatus>, inline)]
    pub status: Vec<String>,
    /// By what; a leading `-` descends, and what has no value comes last either way
    #[param(value_type = Option<PipelineOrder>, inline)]
    pub sort: PipelineSort,
    #[param(ignore)]
    pub descending: bool,
    #[param(ignore)]
    pub window: Window,
}

/// Which runs the metrics count.
#[derive(Clone, Copy, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Window {
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

const COLUMNS: &str = "select p.id, p.connector_id, c.name as connector_name, p.provider, p.external_id, p.name,
    p.description, p.owner, p.owners, p.tags, p.schedule, p.is_paused,
    p.is_active and c.deleted_at is null as is_active, coalesce(run.status, 'never_run') as status,
    g.criticality, t.id as team_id, t.name as team_name, w.user_id is not null as watched, p.external_url,
    p.next_run_at, run.id as run_id, run.external_id as run_external_id, run.provider_status as run_provider_status,
    run.run_type, run.started_at, run.ended_at, run.duration_seconds,
    m.run_count, m.success_count, m.failed_count, m.running_count, m.queued_count, m.avg_duration_seconds,
    m.percentiles, m.last_success_at, m.last_failure_at,
    p.first_seen_at, p.observed_at as updated_at,
    case when p.deleted_at is null and coalesce(seen.absences, 0) = 0 then greatest(p.observed_at, s.confirmed_at) else p.observed_at end as synced_at";

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

/// Some of the pipelines of a space.
///
/// # Errors
/// When the database is away.
pub async fn list(
    db: &PgPool,
    space: SpaceId,
    user: UserId,
    query: &PipelineQuery,
    paging: Paging,
) -> sqlx::Result<Rows<Pipeline>> {
    let (total, ids) = find(db, space, user, query, paging).await?;
    let rows = match ids.is_empty() {
        true => Vec::new(),
        false => show(db, user, query.window, &ids).await?,
    };
    Ok(Rows { rows, total })
}

/// How many pipelines the query finds, and which of them stand on the page.
async fn find(
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
        sql.push(" and coalesce(latest.status, 'never_run') = any(")
            .push_bind(query.status.clone())
            .push(")");
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

async fn show(db: &PgPool, user: UserId, window: Window, ids: &[PipelineId]) -> sqlx::Result<Vec<Pipeline>> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push(" from unnest(").push_bind(ids.to_vec()).push(") with ordinality as page(id, place)");
    sql.push(" join pipelines p on p.id = page.id");
    push_joins(&mut sql, user, window);
    sql.push(" order by page.place");
    let rows = sql.build().fetch_all(db).await?;
    rows.iter().map(|row| Pipeline::read(row, window)).collect()
}

/// One pipeline of a space, with all that is known of it.
///
/// # Errors
/// When the database is away.
pub async fn get(
    db: &PgPool,
    space: SpaceId,
    user: UserId,
    pipeline: PipelineId,
    window: Window,
) -> sqlx::Result<Option<PipelineDetail>> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push(", p.provider_metadata, p.tasks as task_graph from pipelines p");
    push_joins(&mut sql, user, window);
    sql.push(" where p.id = ").push_bind(pipeline).push(" and p.space_id = ").push_bind(space);
    let row = sql.build().fetch_optional(db).await?;
    row.map(|row| {
        Ok(PipelineDetail {
            pipeline: Pipeline::read(&row, window)?,
            provider_metadata: row.try_get::<Json<_>, _>("provider_metadata")?.0,
            tasks: row.try_get::<Json<_>, _>("task_graph")?.0,
        })
    })
    .transpose()
}

/// Whether the space has this pipeline.
///
/// # Errors
/// When the database is away.
pub async fn exists(db: &PgPool, space: SpaceId, pipeline: PipelineId) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from pipelines where id = $1 and space_id = $2)")
        .bind(pipeline)
        .bind(space)
        .fetch_one(db)
        .await
}

fn push_joins(sql: &mut QueryBuilder<Postgres>, user: UserId, window: Window) {
    sql.push(JOINS);
    sql.push(" left join pipeline_watches w on w.pipeline_id = p.id and w.user_id = ").push_bind(user);
    push_metrics(sql, window);
}

/// Adds the metrics of `p` as `m`: those that are kept where they are still right, else counted now. The limit makes
/// PostgreSQL look them up one by one, instead of reading those of all spaces.
fn push_metrics(sql: &mut QueryBuilder<Postgres>, window: Window) {
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
         ) kept on true
         cross join lateral (
             select kept.run_count, kept.success_count, kept.failed_count, kept.running_count, kept.queued_count,
                 kept.avg_duration_seconds, kept.percentiles, kept.last_success_at, kept.last_failure_at
             where kept.pipeline_id is not null
             union all
             select counted.run_count, counted.success_count, counted.failed_count, counted.running_count,
                 counted.queued_count, counted.avg_duration_seconds, counted.percentiles, counted.last_success_at,
                 counted.last_failure_at from ",
    );
    push_counted(sql, window);
    sql.push(" counted where kept.pipeline_id is null) m");
}

fn push_counted(sql: &mut QueryBuilder<Postgres>, window: Window) {
    sql.push("run_metrics(p.id, now() - ").push_bind(window.days).push(" * interval '24 hours', ");
    // A literal, so that the index of those that are not deleted can serve.
    sql.push(if window.include_deleted { "true)" } else { "false)" });
}
