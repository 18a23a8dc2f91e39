//! A run as the API returns it.

use chrono::{DateTime, Utc};
use contract::events::UserRef;
use contract::ids::{PipelineId, RunId};
use contract::state::{RunState, RunType};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::FromRow;
use utoipa::ToSchema;

use super::conf::compact_size;
use crate::store::expectations::ExpectedRun;
use crate::store::task_runs::TaskRun;

/// A run without its `conf`.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct RunSummary {
    #[schema(value_type = Uuid)]
    pub id: RunId,
    #[schema(value_type = Uuid)]
    pub pipeline_id: PipelineId,
    pub pipeline_name: String,
    pub external_id: String,
    pub status: RunState,
    /// The provider's own word.
    pub provider_status: Option<String>,
    pub run_type: RunType,
    pub logical_date: Option<DateTime<Utc>>,
    pub data_interval_start: Option<DateTime<Utc>>,
    pub data_interval_end: Option<DateTime<Utc>>,
    /// The earliest time it may start.
    pub run_after: Option<DateTime<Utc>>,
    pub queued_at: Option<DateTime<Utc>>,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub duration_seconds: Option<f64>,
    /// The size of `conf` as compact JSON, in bytes.
    pub conf_bytes: i64,
    /// Null in lists if it is longer than 2 KiB and those of the page are larger than 1 MiB together.
    pub note: Option<String>,
    /// Who triggered it here.
    #[sqlx(json(nullable))]
    pub triggered_by: Option<UserRef>,
    pub external_url: Option<String>,
    /// Its own comments, not its tasks'.
    pub comment_count: i64,
    /// How many task runs have each status.
    #[sqlx(json)]
    #[schema(value_type = HashMap<String, i64>)]
    pub task_counts: Box<RawValue>,
    /// Since when the provider no longer has it.
    pub deleted_at: Option<DateTime<Utc>>,
    /// When a sync last confirmed this against the provider, changed or not.
    pub last_synced_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A run.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct Run {
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub summary: RunSummary,
    /// The parameters it was given; null in lists if they are larger than 16 KiB, or those of the page are
    /// larger than 1 MiB together, and everywhere if the provider's are larger than 4 MiB or cannot be read.
    #[sqlx(json)]
    #[schema(value_type = Option<Object>)]
    pub conf: Box<RawValue>,
}

/// A run and its task runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunDetail {
    #[serde(flatten)]
    pub run: Run,
    /// What is expected of it; null while its pipeline is being learned.
    pub expected: Option<ExpectedRun>,
    pub tasks: Vec<TaskRun>,
}

impl Run {
    /// Measures `conf`, and leaves it out if it is larger than this.
    pub(super) fn with_conf_of_at_most(mut self, max: usize) -> Self {
        if self.summary.conf_bytes == 0 {
            let size = compact_size(self.conf.get());
            self.summary.conf_bytes = size as i64;
            if size > max {
                self.conf = RawValue::NULL.to_owned();
            }
        }
        self
    }
}
