//! A pipeline as the API returns it.

use chrono::{DateTime, Utc};
use contract::ids::{ConnectorId, PipelineId, RunId};
use contract::state::{Criticality, Health, RunState, RunType};
use derive_more::Display;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use strum::{EnumString, VariantArray};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::store::expectations::PipelineExpectation;
use crate::store::teams::Team;

/// The status of a pipeline's latest run, or that it never ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, VariantArray, Serialize)]
#[display(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum PipelineStatus {
    Queued,
    Running,
    Success,
    Failed,
    Unknown,
    NeverRun,
}

impl From<String> for PipelineStatus {
    /// Parses a state; one that a later release wrote becomes `Unknown`, as in [`RunState`].
    fn from(text: String) -> Self {
        text.parse().unwrap_or(Self::Unknown)
    }
}

impl PartialSchema for PipelineStatus {
    fn schema() -> RefOr<Schema> {
        contract::openapi::string_enum(Self::VARIANTS)
    }
}

impl ToSchema for PipelineStatus {}

/// A pipeline.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct Pipeline {
    #[schema(value_type = Uuid)]
    pub id: PipelineId,
    #[schema(value_type = Uuid)]
    pub connector_id: ConnectorId,
    pub connector_name: String,
    pub provider: String,
    pub external_id: String,
    pub name: String,
    /// Null in lists if it is longer than 2 KiB and those of the page are larger than 1 MiB together.
    pub description: Option<String>,
    pub owner: Option<String>,
    pub owners: Vec<String>,
    pub tags: Vec<String>,
    pub schedule: Option<String>,
    pub is_paused: bool,
    pub is_active: bool,
    /// The latest run's status, or `never_run`.
    #[sqlx(try_from = "String")]
    pub status: PipelineStatus,
    /// The worst of `ok`, `slow`, `late`, `failing` and `unknown`: never run, or its connector is stale or
    /// switched off.
    pub health: Health,
    pub criticality: Option<Criticality>,
    #[sqlx(json(nullable))]
    pub team: Option<Team>,
    /// Whether the person who asks watches it.
    pub watched: bool,
    pub external_url: Option<String>,
    pub next_run_at: Option<DateTime<Utc>>,
    #[sqlx(flatten)]
    #[schema(value_type = Option<LastRun>)]
    pub last_run: LastRunColumns,
    #[sqlx(flatten)]
    pub metrics: PipelineMetrics,
    /// The newest runs, as many as `recent_runs` asks for.
    #[sqlx(json)]
    pub recent_runs: Vec<RecentRun>,
    pub first_seen_at: DateTime<Utc>,
    #[sqlx(rename = "last_synced_at")]
    pub last_seen_at: DateTime<Utc>,
    /// When a sync last confirmed this against the provider, changed or not.
    pub last_synced_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A task of a pipeline's graph.
#[derive(ToSchema)]
#[schema(as = TaskNode)]
#[allow(dead_code, reason = "only its schema is used: the stored JSON is returned unchanged")]
pub(super) struct TaskNodeSchema {
    pub task_id: String,
    pub operator: Option<String>,
    pub upstream: Vec<String>,
    pub downstream: Vec<String>,
}

/// The newest run of a pipeline.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LastRun {
    #[schema(value_type = Uuid)]
    pub id: RunId,
    pub external_id: String,
    pub status: RunState,
    pub provider_status: Option<String>,
    pub run_type: RunType,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub duration_seconds: Option<f64>,
}

/// One of the newest runs of a pipeline.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RecentRun {
    #[schema(value_type = Uuid)]
    pub id: RunId,
    pub status: RunState,
    pub run_type: RunType,
    /// The time that orders runs.
    pub ordered_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub duration_seconds: Option<f64>,
}

/// The runs whose start, or queue time before they start, lies in the window.
#[derive(Debug, Serialize, FromRow, ToSchema)]
#[schema(as = Metrics)]
pub struct PipelineMetrics {
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
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct PipelineDetail {
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub pipeline: Pipeline,
    /// What its runs are expected to do.
    #[sqlx(json)]
    pub expectation: PipelineExpectation,
    /// As the provider gave it.
    #[sqlx(json)]
    #[schema(value_type = Object)]
    pub provider_metadata: Box<RawValue>,
    /// The latest known task graph.
    #[sqlx(json)]
    #[schema(value_type = Vec<TaskNodeSchema>)]
    pub tasks: Box<RawValue>,
}

/// The columns of the latest run, all null for a pipeline that never ran.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct LastRunColumns(Option<LastRun>);

impl FromRow<'_, PgRow> for LastRunColumns {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let Some(id) = row.try_get("run_id")? else {
            return Ok(Self(None));
        };
        Ok(Self(Some(LastRun {
            id,
            external_id: row.try_get("run_external_id")?,
            status: row.try_get("status")?,
            provider_status: row.try_get("run_provider_status")?,
            run_type: row.try_get("run_type")?,
            started_at: row.try_get("started_at")?,
            ended_at: row.try_get("ended_at")?,
            duration_seconds: row.try_get("duration_seconds")?,
        })))
    }
}
