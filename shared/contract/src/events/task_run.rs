//! The state of a task run at its provider.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{ConnectorId, PipelineId, RunId, TaskRunId};
use crate::state::TaskState;

/// The state of a task, or of one mapped instance of it, within a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskRunObserved {
    /// Derived from connector, pipeline, run, task and map index: the same after every rebuild.
    pub id: TaskRunId,
    /// The space's slug.
    pub space: String,
    /// The connector it was read through.
    pub connector_id: ConnectorId,
    /// The kind of provider: `airflow`.
    pub provider: String,
    /// The provider's own names of pipeline, run, task and map index, joined by `/`.
    pub external_id: String,
    /// Only grows for an `id`; the highest is the truth. Drawn from a sequence, with gaps.
    pub version: i64,
    /// When the provider was asked, in UTC.
    pub observed_at: DateTime<Utc>,
    #[doc = "Whether the provider no longer has it: this event is then the last word on its `id`, unless \
             it comes back."]
    #[serde(default)]
    pub deleted: bool,
    /// The pipeline that it belongs to.
    pub pipeline_id: PipelineId,
    /// The provider's own id of the pipeline.
    pub pipeline_external_id: String,
    /// The run that it belongs to.
    pub run_id: RunId,
    /// The provider's own id of the run.
    pub run_external_id: String,
    /// The provider's own id of the task, unique within its pipeline.
    pub task_id: String,
    /// Which instance of a mapped task, from 0; -1 for a task that is not mapped.
    pub map_index: i32,
    /// The name to show; `task_id` where the provider has no other.
    pub name: String,
    /// What kind of work it is, by the provider's own name.
    pub operator: Option<String>,
    /// How it stands.
    pub status: TaskState,
    /// The provider's own word for the status; null where it has none.
    pub provider_status: Option<String>,
    /// How many times it has been tried, 0 before the first.
    pub try_number: i32,
    /// How many retries it is allowed.
    pub max_tries: i32,
    /// When it began to wait, in UTC.
    pub queued_at: Option<DateTime<Utc>>,
    /// When it began to run, in UTC.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended; null before, in UTC.
    pub ended_at: Option<DateTime<Utc>>,
    /// How long the last try ran, in seconds.
    pub duration_seconds: Option<f64>,
    /// The provider's pool of slots that it runs in.
    pub pool: Option<String>,
    /// The provider's queue that it is handed out by.
    pub queue: Option<String>,
    /// The machine that it runs or ran on.
    pub hostname: Option<String>,
}

impl_observed!(TaskRunObserved, TaskRuns, "orchestration.task-run.observed.v1");
