//! A pipeline as the API shows it, read from a row of `COLUMNS`.

use chrono::{DateTime, Utc};
use contract::ids::{ConnectorId, PipelineId, RunId, TeamId};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::Row;
use sqlx::postgres::PgRow;
use utoipa::ToSchema;

use super::Window;
use crate::openapi::{CriticalityWord, PipelineStatus, RunKind, RunStatus};
use crate::store::teams::Team;

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

impl Pipeline {
    pub(super) fn read(row: &PgRow, window: Window) -> sqlx::Result<Self> {
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
