//! Pipelines as the API shows them: what the provider said, what the space decided, the latest run and the metrics.

use chrono::{DateTime, Utc};
use derive_more::Display;
use serde::Serialize;
use serde_json::value::RawValue;
use shared::ids::{ConnectorId, PipelineId, RunId, SpaceId, TeamId, UserId};
use shared::metrics;
use shared::state::Criticality;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgPool, Postgres, QueryBuilder, Row};

use utoipa::{IntoParams, ToSchema};

use super::teams::Team;
use crate::openapi::{Activity, CriticalityWord, PipelineOrder, PipelineStatus, RunKind, RunStatus};
use crate::page::{Paging, Rows};

/// A pipeline.
#[derive(Debug, Serialize, ToSchema)]
pub struct Pipeline {
    #[schema(value_type = Uuid)]
    pub id: PipelineId,
    #[schema(value_type = Uuid)]
    pub connector_id: ConnectorId,
    pub connector_name: String,
    pub provider: String,
    pub external_id: String,
    pub name: String,
    pub description: Option<String>,
    pub owner: Option<String>,
    pub owners: Vec<String>,
    pub tags: Vec<String>,
    pub schedule: Option<String>,
    pub is_paused: bool,
    pub is_active: bool,
    /// The latest run's status, or `never_run`.
    #[schema(value_type = PipelineStatus)]
    pub status: String,
    #[schema(value_type = Option<CriticalityWord>)]
    pub criticality: Option<String>,
    pub team: Option<Team>,
    /// Whether the person who asks watches it.
    pub watched: bool,
    pub external_url: Option<String>,
    pub next_run_at: Option<DateTime<Utc>>,
    pub last_run: Option<LastRun>,
    pub metrics: Metrics,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    /// When a sync last confirmed this against the provider, changed or not.
    pub last_synced_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A task of a pipeline's graph.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes stored JSON that is passed on as it is")]
pub struct TaskNode {
    pub task_id: String,
    pub operator: Option<String>,
    pub upstream: Vec<String>,
    pub downstream: Vec<String>,
}

/// The newest run of a pipeline.
#[derive(Debug, Serialize, ToSchema)]
pub struct LastRun {
    #[schema(value_type = Uuid)]
    pub id: RunId,
    pub external_id: String,
    #[schema(value_type = RunStatus)]
    pub status: String,
    pub provider_status: Option<String>,
    #[schema(value_type = RunKind)]
    pub run_type: String,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub duration_seconds: Option<f64>,
}

/// The runs whose start, or queue time before they start, lies in the window.
#[derive(Debug, Serialize, ToSchema)]
pub struct Metrics {
    /// The window.
    pub days: i32,
    pub run_count: i64,
    pub success_count: i64,
    pub failed_count: i64,
    pub running_count: i64,
    pub queued_count: i64,
    /// success / (success + failed); null with none.
    pub success_rate: Option<f64>,
    /// Durations are of finished runs.
    pub avg_duration_seconds: Option<f64>,
    pub p50_duration_seconds: Option<f64>,
    pub p95_duration_seconds: Option<f64>,
    pub last_success_at: Option<DateTime<Utc>>,
    pub last_failure_at: Option<DateTime<Utc>>,
}

/// A pipeline and what only one of them is shown with.
#[derive(Debug, Serialize, ToSchema)]
pub struct PipelineDetail {
    #[serde(flatten)]
    pub pipeline: Pipeline,
    /// As the provider gave it.
    #[schema(value_type = Object)]
    pub provider_metadata: Box<RawValue>,
    /// The latest known task graph.
    #[schema(value_type = Vec<TaskNode>)]
    pub tasks: Box<RawValue>,
}

/// Which pipelines. Every condition must hold; of the values of a list one is enough, and an empty list asks nothing.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PipelineFilter {
    pub provider: Option<String>,
    /// Any of these among the owners
    #[param(required = false)]
    pub owner: Vec<String>,
    #[param(required = false, value_type = Vec<CriticalityWord>, inline)]
    pub criticality: Vec<Criticality>,
    #[param(value_type = Option<Uuid>)]
    pub team_id: Option<TeamId>,
    #[param(value_type = Option<Uuid>)]
    pub connector_id: Option<ConnectorId>,
    /// Words that must all be found in the name, the external id, the description, the owners or the tags, in any case
    #[param(rename = "q", value_type = Option<String>)]
    pub words: Vec<String>,
    /// Only those that the person with this key watches
    #[param(required = false)]
    pub watched_only: bool,
    pub is_paused: Option<bool>,
    /// Whether the provider still has it; `any` for both
    #[param(value_type = Option<Activity>, inline)]
    pub is_active: Option<bool>,
    /// Any of these among the tags
    #[param(required = false)]
    pub tag: Vec<String>,
}

impl PipelineFilter {
    /// Whether it asks nothing.
    pub fn is_open(&self) -> bool {
        self.provider.is_none()
            && self.owner.is_empty()
            && self.criticality.is_empty()
            && self.team_id.is_none()
            && self.connector_id.is_none()
            && self.words.is_empty()
            && !self.watched_only
            && self.is_paused.is_none()
            && self.is_active.is_none()
            && self.tag.is_empty()
    }

    /// Adds its conditions to a statement that knows the pipeline as `p`, its connector as `c` and its governance as
    /// `g`.
    pub(super) fn push(&self, sql: &mut QueryBuilder<Postgres>, space: SpaceId, user: UserId) {
        sql.push(" where p.space_id = ").push_bind(space);
        if let Some(provider) = &self.provider {
            sql.push(" and p.provider = ").push_bind(provider.clone());
        }
        if !self.owner.is_empty() {
            sql.push(" and p.owners && ").push_bind(self.owner.clone());
        }
        if !self.tag.is_empty() {
            sql.push(" and p.tags && ").push_bind(self.tag.clone());
        }
        if !self.criticality.is_empty() {
            let words: Vec<_> = self.criticality.iter().map(ToString::to_string).collect();
            sql.push(" and g.criticality = any(").push_bind(words).push(")");
        }
        if let Some(team) = self.team_id {
            sql.push(" and g.team_id = ").push_bind(team);
        }
        if let Some(connector) = self.connector_id {
            sql.push(" and p.connector_id = ").push_bind(connector);
        }
        if let Some(paused) = self.is_paused {
            sql.push(" and p.is_paused = ").push_bind(paused);
        }
        if let Some(active) = self.is_active {
            sql.push(" and (p.is_active and c.deleted_at is null) = ").push_bind(active);
        }
        if self.watched_only {
            sql.push(
                " and exists (select from pipeline_watches w where w.pipeline_id = p.id and w.user_id = ",
            )
            .push_bind(user)
            .push(")");
        }
        if !self.words.is_empty() {
            // Places, not patterns: % and _ are plain characters. Lines keep a word from matching across fields.
            sql.push(" and not exists (select from unnest(").push_bind(self.words.clone()).push(
                r#") as word where strpos(lower(concat_ws(E'\n', p.name, p.external_id, p.description,
                   array_to_string(p.owners, E'\n'), array_to_string(p.tags, E'\n')) collate "und-x-icu"),
                   lower(word collate "und-x-icu")) = 0)"#,
            );
        }
    }
}

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
    case when p.is_active then greatest(p.observed_at, s.confirmed_at) else p.observed_at end as synced_at";

const JOINS: &str = " join connectors c on c.id = p.connector_id
    left join connector_state s on s.connector_id = p.connector_id
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

/// Adds the metrics of `p` as `m`: those that are kept where they are still right, else counted now.
fn push_metrics(sql: &mut QueryBuilder<Postgres>, window: Window) {
    if window.include_deleted || window.days != metrics::KEPT_DAYS {
        sql.push(" cross join lateral ");
        push_counted(sql, window);
        sql.push(" m");
        return;
    }
    sql.push(
        " left join pipeline_metrics kept on kept.pipeline_id = p.id
             and kept.counted_revision = kept.revision and kept.valid_until >= now()
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

impl Pipeline {
    fn read(row: &PgRow, window: Window) -> sqlx::Result<Self> {
        let synced_at = row.try_get("synced_at")?;
        let team = row.try_get::<Option<TeamId>, _>("team_id")?;
        Ok(Self {
            id: row.try_get("id")?,
            connector_id: row.try_get("connector_id")?,
            connector_name: row.try_get("connector_name")?,
            provider: row.try_get("provider")?,
            external_id: row.try_get("external_id")?,
            name: row.try_get("name")?,
            description: row.try_get("description")?,
            owner: row.try_get("owner")?,
            owners: row.try_get("owners")?,
            tags: row.try_get("tags")?,
            schedule: row.try_get("schedule")?,
            is_paused: row.try_get("is_paused")?,
            is_active: row.try_get("is_active")?,
            status: row.try_get("status")?,
            criticality: row.try_get("criticality")?,
            team: team
                .map(|id| Ok::<_, sqlx::Error>(Team { id, name: row.try_get("team_name")? }))
                .transpose()?,
            watched: row.try_get("watched")?,
            external_url: row.try_get("external_url")?,
            next_run_at: row.try_get("next_run_at")?,
            last_run: LastRun::read(row)?,
            metrics: Metrics::read(row, window)?,
            first_seen_at: row.try_get("first_seen_at")?,
            last_seen_at: synced_at,
            last_synced_at: synced_at,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

impl LastRun {
    fn read(row: &PgRow) -> sqlx::Result<Option<Self>> {
        let Some(id) = row.try_get("run_id")? else {
            return Ok(None);
        };
        Ok(Some(Self {
            id,
            external_id: row.try_get("run_external_id")?,
            status: row.try_get("status")?,
            provider_status: row.try_get("run_provider_status")?,
            run_type: row.try_get("run_type")?,
            started_at: row.try_get("started_at")?,
            ended_at: row.try_get("ended_at")?,
            duration_seconds: row.try_get("duration_seconds")?,
        }))
    }
}

impl Metrics {
    fn read(row: &PgRow, window: Window) -> sqlx::Result<Self> {
        let success_count: i64 = row.try_get("success_count")?;
        let failed_count: i64 = row.try_get("failed_count")?;
        let finished = success_count + failed_count;
        let percentiles: Option<Vec<Option<f64>>> = row.try_get("percentiles")?;
        let percentile = |n: usize| percentiles.as_ref().and_then(|all| all.get(n).copied().flatten());
        Ok(Self {
            days: window.days,
            run_count: row.try_get("run_count")?,
            success_count,
            failed_count,
            running_count: row.try_get("running_count")?,
            queued_count: row.try_get("queued_count")?,
            success_rate: (finished > 0).then(|| success_count as f64 / finished as f64),
            avg_duration_seconds: row.try_get("avg_duration_seconds")?,
            p50_duration_seconds: percentile(0),
            p95_duration_seconds: percentile(1),
            last_success_at: row.try_get("last_success_at")?,
            last_failure_at: row.try_get("last_failure_at")?,
        })
    }
}
