//! The state of a pipeline at its provider.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{ConnectorId, PipelineId};

/// The state of a pipeline: everything but its runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PipelineObserved {
    /// Derived from connector and `external_id`: the same after every rebuild.
    pub id: PipelineId,
    /// The space's slug.
    pub space: String,
    /// The connector it was read through.
    pub connector_id: ConnectorId,
    /// The kind of provider: `airflow`.
    pub provider: String,
    /// The provider's own id.
    pub external_id: String,
    /// Only grows for an `id`; the highest is the truth. Drawn from a sequence, with gaps.
    pub version: i64,
    /// When the provider was asked, in UTC.
    pub observed_at: DateTime<Utc>,
    #[doc = "Whether the provider no longer has it: this event is then the last word on its `id`, unless \
             it comes back."]
    #[serde(default)]
    pub deleted: bool,
    /// Always null: a pipeline's status follows from its runs.
    #[serde(default)]
    pub provider_status: Option<String>,
    /// The name to show; `external_id` where the provider has no other.
    pub name: String,
    /// What its authors say of it.
    pub description: Option<String>,
    /// The first of `owners`.
    pub owner: Option<String>,
    /// Who the provider says owns it, without doubles, sorted.
    pub owners: Vec<String>,
    /// Its labels at the provider, without doubles, sorted.
    pub tags: Vec<String>,
    /// When it runs, in the provider's own notation, such as a cron line; null when only by hand.
    pub schedule: Option<String>,
    /// Whether the provider holds its schedule back.
    pub is_paused: bool,
    /// Whether the provider still runs it at all.
    pub is_active: bool,
    /// Its page at the provider.
    pub external_url: Option<String>,
    /// When the provider means to run it next, in UTC.
    pub next_run_at: Option<DateTime<Utc>>,
    /// The provider's own description, an object as it gave it, less what changes without meaning.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub provider_metadata: serde_json::Value,
    /// The latest known task graph, sorted by `task_id`.
    pub tasks: Vec<TaskNode>,
    /// When it was first read, in UTC; a rebuild keeps it.
    pub first_seen_at: DateTime<Utc>,
}

/// A task of a pipeline and its neighbours in the graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskNode {
    /// The provider's own id of the task, unique within its pipeline.
    pub task_id: String,
    /// What kind of work it is, by the provider's own name.
    pub operator: Option<String>,
    /// The tasks it waits for, sorted.
    pub upstream: Vec<String>,
    /// The tasks that wait for it, sorted.
    pub downstream: Vec<String>,
}

impl_observed!(PipelineObserved, Pipelines, "orchestration.pipeline.observed.v1");
