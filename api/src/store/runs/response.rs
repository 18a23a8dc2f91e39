//! A run as it is shown, and how its row is read.

use chrono::{DateTime, Utc};
use contract::events::UserRef;
use contract::ids::{PipelineId, RunId, UserId};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use utoipa::ToSchema;

use crate::openapi::{Person, RunKind, RunStatus};
use crate::store::task_runs::TaskRun;

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

impl Run {
    pub(super) fn read(row: &PgRow) -> sqlx::Result<Self> {
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
