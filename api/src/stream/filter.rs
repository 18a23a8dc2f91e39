//! A record of a topic as a change that can be told: what filters ask of it, and its words in the stream. A record that
//! makes no sense is none; keeping it is the worker's.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use contract::events::{Event, PipelineObserved, RunObserved, SyncChanged, TaskRunObserved, Topic};
use contract::ids::{ConnectorId, PipelineId, SpaceId, TeamId};
use contract::state::{Criticality, RunState, SyncStatus, TaskState};
use derive_more::Display;
use strum::VariantArray;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::openapi::{CriticalityWord, EventKind, EventStatus};

/// What a change is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, VariantArray)]
#[display(rename_all = "snake_case")]
pub enum Kind {
    Pipeline,
    Run,
    TaskRun,
    Sync,
}

/// Every status that a run, a task run or a sync can have.
pub static STATUSES: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let of_runs = RunState::VARIANTS.iter().map(Into::into);
    let of_task_runs = TaskState::VARIANTS.iter().map(Into::into);
    let of_syncs = SyncStatus::VARIANTS.iter().map(Into::into);
    let all: BTreeSet<&str> = of_runs.chain(of_task_runs).chain(of_syncs).collect();
    all.into_iter().collect()
});

/// An event as it was read.
#[derive(Debug)]
pub struct Change {
    pub kind: Kind,
    pub id: Uuid,
    pub version: i64,
    pub connector: ConnectorId,
    /// A sync has none.
    pub pipeline: Option<PipelineId>,
    /// A pipeline's follows from its runs.
    pub status: Option<String>,
    /// The event contract's own JSON, on one line.
    pub data: String,
}

/// Whose a change is, as PostgreSQL knows it.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Owner {
    pub space_id: SpaceId,
    pub team_id: Option<TeamId>,
    pub criticality: Option<Criticality>,
}

impl Change {
    /// Reads a record's value.
    pub fn read(topic: Topic, payload: &[u8]) -> Option<Self> {
        match topic {
            Topic::Pipelines => {
                Self::of(Kind::Pipeline, payload, |event: &PipelineObserved| (Some(event.id), None))
            }
            Topic::Runs => Self::of(Kind::Run, payload, |event: &RunObserved| {
                (Some(event.pipeline_id), Some(event.status.to_string()))
            }),
            Topic::TaskRuns => Self::of(Kind::TaskRun, payload, |event: &TaskRunObserved| {
                (Some(event.pipeline_id), Some(event.status.to_string()))
            }),
            Topic::Syncs => {
                Self::of(Kind::Sync, payload, |event: &SyncChanged| (None, Some(event.status.to_string())))
            }
            Topic::SyncRequests => None,
        }
    }

    fn of<E: Event>(
        kind: Kind,
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

/// Which changes. Every condition must hold; of the values of a list one is enough, and an empty list asks nothing.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventFilter {
    /// What the change is of
    #[param(rename = "type", required = false, value_type = Vec<EventKind>, inline)]
    pub kind: Vec<Kind>,
    /// The pipeline, its runs and their task runs; no syncs
    #[param(value_type = Option<Uuid>)]
    pub pipeline_id: Option<PipelineId>,
    /// What belongs to the pipelines of this team; no syncs
    #[param(value_type = Option<Uuid>)]
    pub team_id: Option<TeamId>,
    /// What belongs to pipelines that matter so much; no syncs
    #[param(required = false, value_type = Vec<CriticalityWord>, inline)]
    pub criticality: Vec<Criticality>,
    /// The status that a run, a task run or a sync has now; no pipelines
    #[param(required = false, value_type = Vec<EventStatus>, inline)]
    pub status: Vec<&'static str>,
}

impl EventFilter {
    /// Whether a change is asked for.
    pub fn takes(&self, change: &Change, owner: &Owner) -> bool {
        let status = change.status.as_deref();
        (self.kind.is_empty() || self.kind.contains(&change.kind))
            && self.pipeline_id.is_none_or(|pipeline| change.pipeline == Some(pipeline))
            && self.team_id.is_none_or(|team| owner.team_id == Some(team))
            && (self.status.is_empty() || status.is_some_and(|status| self.status.contains(&status)))
            && (self.criticality.is_empty()
                || owner.criticality.is_some_and(|criticality| self.criticality.contains(&criticality)))
    }
}
