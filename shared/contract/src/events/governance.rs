//! What a space decides about a pipeline, and what its members say about runs and incidents. The events are
//! of this service, not of a provider.

use chrono::{DateTime, Utc};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use super::UserRef;
use crate::ids::{CommentId, ConnectorId, IncidentId, PipelineId, RunId, TaskRunId, TeamId};
use crate::state::Criticality;

/// The team and the criticality of a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GovernanceChanged {
    /// The pipeline's id.
    pub id: PipelineId,
    /// The space's slug.
    pub space: String,
    /// The connector of the pipeline.
    pub connector_id: ConnectorId,
    /// Only grows for an `id`; the highest is the truth. Drawn from a sequence, with gaps.
    pub version: i64,
    /// When it was changed, in UTC.
    pub observed_at: DateTime<Utc>,
    /// The team that owns the pipeline; null for none.
    pub team: Option<TeamRef>,
    /// `low`, `medium`, `high` or `critical`; null where the space has not decided.
    #[schemars(schema_with = "criticality")]
    pub criticality: Option<Criticality>,
    /// Who changed it; null for the command line.
    pub changed_by: Option<UserRef>,
}

/// A team, as events name one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TeamRef {
    /// The team's id.
    pub id: TeamId,
    /// The name to show.
    pub name: String,
}

fn criticality(_: &mut schemars::SchemaGenerator) -> Schema {
    schemars::json_schema!({"enum": ["low", "medium", "high", "critical", null]})
}

/// The state of a comment on a run, a task run or an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CommentChanged {
    /// The comment's id.
    pub id: CommentId,
    /// The space's slug.
    pub space: String,
    /// The connector of the run or the incident.
    pub connector_id: ConnectorId,
    /// Only grows for an `id`; the highest is the truth. Drawn from a sequence, with gaps.
    pub version: i64,
    /// When it was written, edited or deleted, in UTC.
    pub observed_at: DateTime<Utc>,
    /// Whether it was deleted: this event is then the last one of its `id`.
    #[serde(default)]
    pub deleted: bool,
    /// `run`, `task_run` or `incident`.
    pub target_type: String,
    /// The pipeline of the run or the incident; null for an incident of a connector.
    pub pipeline_id: Option<PipelineId>,
    /// The run; of a comment on a task run, its run; null for a comment on an incident.
    pub run_id: Option<RunId>,
    /// The task run; null for a comment on anything else.
    pub task_run_id: Option<TaskRunId>,
    /// The incident; null for a comment on anything else.
    pub incident_id: Option<IncidentId>,
    /// The text as it was given; null once the comment is deleted.
    pub content: Option<String>,
    /// Who wrote it.
    pub author: UserRef,
    /// Whether the text was changed after it was written.
    pub edited: bool,
    /// When it was written, in UTC.
    pub created_at: DateTime<Utc>,
    /// When it was written or edited last, in UTC.
    pub updated_at: DateTime<Utc>,
}

impl_event!(GovernanceChanged, Governance, "orchestration.governance.changed.v1");
impl_event!(CommentChanged, Comments, "orchestration.comment.changed.v1");
