//! Pipelines as the API returns them: the provider's facts, the space's governance, the latest run and the
//! metrics.

mod facets;
mod filter;
mod health;
mod latest;
mod metrics;
mod response;
mod sums;

use contract::ids::{PipelineId, SpaceId, UserId};
use contract::state::Health;
use derive_more::Display;
use platform::pipeline_metrics;
use sqlx::{PgPool, Postgres, QueryBuilder, Row};
use strum::VariantArray;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

pub use self::facets::{PipelineFacets, count_facets};
pub use self::filter::{ActiveFilter, AnyOf, PipelineFilter};
use self::latest::{LATEST_AT, LATEST_STATUS, push_latest};
pub use self::metrics::is_cheap;
use self::metrics::push_metrics;
pub use self::response::{Pipeline, PipelineDetail, PipelineStatus};
pub use self::sums::WindowSums;
use super::expectations;
use super::page::{self, CURSOR_KEY, KeyKind, ListOrder, Paging, Rows, Total};
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
            Self::LastRun => LATEST_AT,
            Self::FailedCount => "coalesce(sums.failed_count, 0)::float8",
            Self::SuccessRate => {
                "sums.success_count / nullif(sums.success_count + sums.failed_count, 0)::float8"
            }
            Self::AvgDuration => "(sums.duration_sum / nullif(sums.durations, 0))::float8",
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
    /// Any of these
    #[param(required = false, inline)]
    pub health: Vec<Health>,
    /// By what; a leading `-` descends, and what has no value comes last either way
    #[param(value_type = Option<PipelineSort>, inline)]
    pub sort: PipelineSort,
    #[param(ignore)]
    pub descending: bool,
    #[param(ignore)]
    pub view: PipelineView,
}

/// What a pipeline is shown with.
#[derive(Clone, Copy, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PipelineView {
    #[param(ignore)]
    pub window: MetricsWindow,
    /// How many of its newest runs are shown
    #[param(required = false, minimum = 0, maximum = 50, default = 0)]
    pub recent_runs: i64,
}

impl Default for PipelineView {
    fn default() -> Self {
        let window = MetricsWindow { days: pipeline_metrics::WINDOW_DAYS, include_deleted: false };
        Self { window, recent_runs: 0 }
    }
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

const COLUMNS: &str =
    "select p.id, p.connector_id, c.name as connector_name, p.provider, p.external_id, p.name,
    case when octet_length(p.description) <= 2048 or sum(octet_length(p.description)) over () <= 1048576
        then p.description end as description, p.owner, p.owners, p.tags, p.schedule, p.is_paused,
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

const FILTERED: &str = " from pipelines p join connectors c on c.id = p.connector_id
    left join pipeline_governance g on g.pipeline_id = p.id and g.space_id = p.space_id";

const RECENT_RUNS: &str = "(
    select coalesce(jsonb_agg(to_jsonb(r) order by r.ordered_at desc, r.id desc), '[]') from (
        select r.id, r.status, r.run_type, r.ordered_at, r.started_at, r.duration_seconds from runs r
        where r.pipeline_id = p.id and r.deleted_at is null
        order by r.ordered_at desc, r.id desc limit ";

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

impl PipelineQuery {
    /// Returns whether the page is read in the order of an index. With a condition that few pipelines meet,
    /// the index would be read to its end.
    fn is_in_index_order(&self) -> bool {
        self.sort == PipelineSort::Name
            && self.status.is_empty()
            && self.health.is_empty()
            && !self.filter.is_selective()
    }

    /// Returns the order of the list.
    pub fn order(&self) -> ListOrder {
        if self.is_in_index_order() {
            let order = ListOrder::by(NAME_KEY, KeyKind::Text, "p.id");
            return if self.descending { order.descending().ascending_ids() } else { order };
        }
        let kind = match self.sort {
            PipelineSort::Name => KeyKind::Text,
            PipelineSort::LastRun => KeyKind::Time,
            PipelineSort::FailedCount | PipelineSort::SuccessRate | PipelineSort::AvgDuration => {
                KeyKind::Number
            }
        };
        let order = ListOrder::by(CURSOR_KEY, kind, "id").nullable();
        if self.descending { order.descending().ascending_ids() } else { order }
    }
}

/// Lists a page of the pipelines of a space.
pub async fn list(
    db: &PgPool,
    space: SpaceId,
    user: UserId,
    query: &PipelineQuery,
    paging: &Paging,
) -> sqlx::Result<Rows<Pipeline>> {
    let page = find_page(db, space, user, query, paging).await?;
    let ids: Vec<PipelineId> = page.rows.into_iter().map(|(id,)| id).collect();
    let rows = if ids.is_empty() { Vec::new() } else { list_by_id(db, user, query.view, &ids).await? };
    Ok(Rows { rows, total: page.total, next: page.next })
}

/// Finds the ids of the pipelines on a page, and the number of pipelines that match the query.
async fn find_page(
    db: &PgPool,
    space: SpaceId,
    user: UserId,
    query: &PipelineQuery,
    paging: &Paging,
) -> sqlx::Result<Rows<(PipelineId,)>> {
    if query.is_in_index_order() {
        let matching = |sql: &mut QueryBuilder<Postgres>| {
            sql.push(FILTERED);
            query.filter.push(sql, space, user);
        };
        return page::read(db, paging, "select p.id", matching).await;
    }
    let mut sql = QueryBuilder::new("with found as materialized (select p.id, ");
    sql.push(query.sort.key()).push(format_args!(" as {CURSOR_KEY}{FILTERED}"));
    if !query.status.is_empty() || !query.health.is_empty() || query.sort == PipelineSort::LastRun {
        push_latest(&mut sql, space);
    }
    if !query.health.is_empty() {
        health::push_incidents_of_space(&mut sql, space);
    }
    if query.sort.needs_metrics() {
        WindowSums::of(space, query.view.window).push(&mut sql);
    }
    query.filter.push(&mut sql, space, user);
    if !query.status.is_empty() {
        sql.push(" and ");
        push_status(&mut sql, &query.status);
    }
    if !query.health.is_empty() {
        sql.push(" and ");
        push_health_condition(&mut sql, &query.health);
    }
    // The total is known also where the page is empty.
    sql.push(format_args!(
        ") select id, {CURSOR_KEY}, total from (select count(*) as total from found) counted
         left join (select id, {CURSOR_KEY} from found where true"
    ));
    paging.push_page(&mut sql);
    sql.push(") page on true");
    paging.push_order(&mut sql);
    let mut rows = sql.build().fetch_all(db).await?;
    let total = rows.first().map(|row| row.try_get("total")).transpose()?.unwrap_or(0);
    rows.retain(|row| !matches!(row.try_get::<Option<PipelineId>, _>("id"), Ok(None)));
    paging.rows(rows, Total::exact(total))
}

/// Adds the condition on the status as an expression.
fn push_status(sql: &mut QueryBuilder<Postgres>, status: &[PipelineStatus]) {
    let words: Vec<String> = status.iter().map(ToString::to_string).collect();
    sql.push(LATEST_STATUS).push(" = any(").push_bind(words).push(")");
}

/// Adds the condition on the health as an expression.
fn push_health_condition(sql: &mut QueryBuilder<Postgres>, health: &[Health]) {
    let words: Vec<String> = health.iter().map(ToString::to_string).collect();
    health::push_health(sql, LATEST_STATUS);
    sql.push(" = any(").push_bind(words).push(")");
}

/// Lists these pipelines, in the order of their ids.
async fn list_by_id(
    db: &PgPool,
    user: UserId,
    view: PipelineView,
    ids: &[PipelineId],
) -> sqlx::Result<Vec<Pipeline>> {
    let mut sql = columns(view);
    sql.push(" from unnest(").push_bind(ids.to_vec()).push(") with ordinality as page(id, position)");
    sql.push(" join pipelines p on p.id = page.id");
    push_joins(&mut sql, user, view.window);
    sql.push(" order by page.position");
    sql.build_query_as().fetch_all(db).await
}

/// Finds one pipeline of a space, with its provider metadata and task graph.
pub async fn find(
    db: &PgPool,
    space: SpaceId,
    user: UserId,
    pipeline: PipelineId,
    view: PipelineView,
) -> sqlx::Result<Option<PipelineDetail>> {
    let mut sql = columns(view);
    sql.push(", ").push(expectations::OF_PIPELINE).push(", p.provider_metadata, p.tasks from pipelines p");
    push_joins(&mut sql, user, view.window);
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

fn columns(view: PipelineView) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new(COLUMNS);
    health::push_health(&mut sql, "coalesce(run.status, 'never_run')");
    sql.push(" as health, ").push_bind(view.window.days).push(" as days, ");
    if view.recent_runs == 0 {
        sql.push("'[]'::jsonb as recent_runs");
    } else {
        sql.push(RECENT_RUNS).push_bind(view.recent_runs).push(") r) as recent_runs");
    }
    sql
}

fn push_joins(sql: &mut QueryBuilder<Postgres>, user: UserId, window: MetricsWindow) {
    sql.push(JOINS);
    health::push_incidents(sql);
    sql.push(" left join pipeline_watches w on w.pipeline_id = p.id and w.user_id = ").push_bind(user);
    push_metrics(sql, window);
}
