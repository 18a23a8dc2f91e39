//! Incidents: signals of one pipeline and kind, from the first one until the pipeline is well again. The
//! events are of this service, not of a provider.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::UserRef;
use crate::ids::{ConnectorId, IncidentId, PipelineId, RunId};
use crate::state::{IncidentKind, IncidentStatus};

/// The state of an incident of a pipeline or a connector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentChanged {
    /// The incident's id.
    pub id: IncidentId,
    /// The space's slug.
    pub space: String,
    /// The connector of the pipeline, or the one that is stale.
    pub connector_id: ConnectorId,
    /// Only grows for an `id`; the highest is the truth. Drawn from a sequence, with gaps.
    pub version: i64,
    /// When it changed, in UTC.
    pub observed_at: DateTime<Utc>,
    /// The pipeline; null for `connector_stale`.
    pub pipeline_id: Option<PipelineId>,
    /// The pipeline's name; null for `connector_stale`.
    pub pipeline_name: Option<String>,
    /// What is wrong.
    pub kind: IncidentKind,
    /// Its status.
    pub status: IncidentStatus,
    /// When it began, in UTC.
    pub opened_at: DateTime<Utc>,
    /// Who has acknowledged it, and when; null while it is not acknowledged.
    pub acknowledged: Option<Acknowledgement>,
    /// Until when nothing is sent about it, in UTC; null where it is not muted.
    pub muted_until: Option<DateTime<Utc>>,
    /// When the pipeline was well again, in UTC; null until then.
    pub resolved_at: Option<DateTime<Utc>>,
    /// How many runs or due times it has counted.
    pub count: i32,
    /// The run that was counted last; null where there is none.
    pub last_run_id: Option<RunId>,
    /// What is wrong, in one sentence.
    pub summary: String,
    /// The numbers that the sentence was made of.
    pub evidence: Value,
}

/// Who has acknowledged an incident, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Acknowledgement {
    /// Who has acknowledged it.
    pub by: UserRef,
    /// When it was acknowledged, in UTC.
    pub at: DateTime<Utc>,
}

impl_event!(IncidentChanged, Incidents, "orchestration.incident.changed.v1");
