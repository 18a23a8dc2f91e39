//! Changes, parsed from the records of the topics, and the filter of a stream. Invalid records are skipped
//! here; the worker stores them as dead letters.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use contract::events::{
    CommentChanged, Event, GovernanceChanged, IncidentChanged, PipelineObserved, RunObserved, SyncChanged,
    TaskRunObserved, Topic,
};
use contract::ids::{ConnectorId, PipelineId, TeamId};
use contract::state::{Criticality, RunState, SyncStatus, TaskState};
use derive_more::Display;
use strum::VariantArray;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};
use uuid::Uuid;

use crate::store::stream::ChangeOwner;

/// The kind of entity that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, VariantArray)]
#[display(rename_all = "snake_case")]
pub enum ChangeKind {
    Pipeline,
    Run,
    TaskRun,
    Sync,
    Governance,
    Comment,
    Incident,
}

impl PartialSchema for ChangeKind {
    fn schema() -> RefOr<Schema> {
        contract::openapi::string_enum(Self::VARIANTS)
    }
}

impl ToSchema for ChangeKind {}

/// Every status that a run, a task run or a sync can have.
pub static EVENT_STATUSES: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let of_runs = RunState::VARIANTS.iter().map(Into::into);
    let of_task_runs = TaskState::VARIANTS.iter().map(Into::into);
    let of_syncs = SyncStatus::VARIANTS.iter().map(Into::into);
    let all: BTreeSet<&str> = of_runs.chain(of_task_runs).chain(of_syncs).collect();
    all.into_iter().collect()
});

/// The schema of [`EVENT_STATUSES`].
struct EventStatus;

impl PartialSchema for EventStatus {
    fn schema() -> RefOr<Schema> {
        contract::openapi::string_enum(&EVENT_STATUSES)
    }
}

impl ToSchema for EventStatus {}

/// A change of an entity.
#[derive(Debug)]
pub struct Change {
    pub kind: ChangeKind,
    pub id: Uuid,
    pub version: i64,
    pub connector: ConnectorId,
    /// None for a sync, and for an incident of a connector with its comments.
    pub pipeline: Option<PipelineId>,
    /// None for a pipeline, whose status follows from its runs, its governance, comments and incidents.
    pub status: Option<String>,
    /// The JSON of the event, on one line.
    pub data: String,
}

impl Change {
    /// Parses the value of a record; none when it is invalid.
    pub fn parse(topic: Topic, payload: &[u8]) -> Option<Self> {
        match topic {
            Topic::Pipelines => {
                Self::of(ChangeKind::Pipeline, payload, |event: &PipelineObserved| (Some(event.id), None))
            }
            Topic::Runs => Self::of(ChangeKind::Run, payload, |event: &RunObserved| {
                (Some(event.pipeline_id), Some(event.status.to_string()))
            }),
            Topic::TaskRuns => Self::of(ChangeKind::TaskRun, payload, |event: &TaskRunObserved| {
                (Some(event.pipeline_id), Some(event.status.to_string()))
            }),
            Topic::Syncs => Self::of(ChangeKind::Sync, payload, |event: &SyncChanged| {
                (None, Some(event.status.to_string()))
            }),
            Topic::Governance => {
                Self::of(ChangeKind::Governance, payload, |event: &GovernanceChanged| (Some(event.id), None))
            }
            Topic::Comments => {
                Self::of(ChangeKind::Comment, payload, |event: &CommentChanged| (event.pipeline_id, None))
            }
            Topic::Incidents => {
                Self::of(ChangeKind::Incident, payload, |event: &IncidentChanged| (event.pipeline_id, None))
            }
            Topic::SyncRequests => None,
        }
    }

    fn of<E: Event>(
        kind: ChangeKind,
        payload: &[u8],
        facts: impl FnOnce(&E) -> (Option<PipelineId>, Option<String>),
    ) -> Option<Self> {
        let event: E = serde_json::from_slice(payload).ok()?;
        let (pipeline, status) = facts(&event);
        Some(Self {
            kind,
            id: event.subject(),
            version: event.version(),
            connector: event.connector_id(),
            pipeline,
            status,
            data: serde_json::to_string(&event).ok()?,
        })
    }
}

/// The conditions on changes. Every condition must hold. A list holds when one of its values does; an empty
/// list always holds.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventFilter {
    /// What the change is of
    #[param(rename = "type", required = false, inline)]
    pub kind: Vec<ChangeKind>,
    /// The pipeline, its governance, incidents and runs, their task runs and comments; no syncs
    #[param(value_type = Option<Uuid>)]
    pub pipeline_id: Option<PipelineId>,
    /// What belongs to the pipelines of this team; no syncs
    #[param(value_type = Option<Uuid>)]
    pub team_id: Option<TeamId>,
    /// What belongs to pipelines that matter so much; no syncs
    #[param(required = false, inline)]
    pub criticality: Vec<Criticality>,
    /// The status that a run, a task run or a sync has now; no pipelines, governance, comments and
    /// incidents
    #[param(required = false, value_type = Vec<EventStatus>, inline)]
    pub status: Vec<&'static str>,
}

impl EventFilter {
    /// Returns whether a change meets all conditions.
    pub fn matches(&self, change: &Change, owner: &ChangeOwner) -> bool {
        let status = change.status.as_deref();
        (self.kind.is_empty() || self.kind.contains(&change.kind))
            && self.pipeline_id.is_none_or(|pipeline| change.pipeline == Some(pipeline))
            && self.team_id.is_none_or(|team| owner.team_id == Some(team))
            && (self.status.is_empty() || status.is_some_and(|status| self.status.contains(&status)))
            && (self.criticality.is_empty()
                || owner.criticality.is_some_and(|criticality| self.criticality.contains(&criticality)))
    }
}
