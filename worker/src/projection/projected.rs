//! What the projection needs from each kind of event: when its entity expires, and the external ids of the
//! entity's parents.

use chrono::DateTime;
use contract::events::{PipelineObserved, RunObserved, TaskRunObserved};
use contract::ids::{PipelineId, RunId, TaskRunId};
use contract::state::EntityKind;

use crate::store::entities::{ExpiryCandidate, StoredEntity};

/// An event that is projected into a row.
pub trait Projected: StoredEntity {
    const KIND: EntityKind;

    /// The external ids of the entity and its parents, for messages.
    fn full_name(&self) -> String;

    /// The times by which this entity expires; none when it never does.
    fn expiry_candidate(&self) -> Option<ExpiryCandidate>;

    /// Whether its ids are those of its natural key.
    fn has_derived_ids(&self) -> bool;

    /// This event with the external ids of its parents from another event of the same entity, because the
    /// parents' rows may not exist yet.
    fn with_external_ids_from(self, other: &Self) -> Self;
}

/// A pipeline never expires.
impl Projected for PipelineObserved {
    const KIND: EntityKind = EntityKind::Pipeline;

    fn full_name(&self) -> String {
        self.external_id.clone()
    }

    fn has_derived_ids(&self) -> bool {
        self.id == PipelineId::of(self.connector_id, &self.external_id)
    }

    fn expiry_candidate(&self) -> Option<ExpiryCandidate> {
        None
    }

    fn with_external_ids_from(self, _: &Self) -> Self {
        self
    }
}

/// A run that is finished or deleted expires by the last of its own times.
impl Projected for RunObserved {
    const KIND: EntityKind = EntityKind::Run;

    fn full_name(&self) -> String {
        format!("{}/{}", self.pipeline_external_id, self.external_id)
    }

    fn has_derived_ids(&self) -> bool {
        let Self { connector_id, pipeline_external_id: pipeline, external_id: run, .. } = self;
        self.id == RunId::of(*connector_id, pipeline, run)
            && self.pipeline_id == PipelineId::of(*connector_id, pipeline)
    }

    fn expiry_candidate(&self) -> Option<ExpiryCandidate> {
        let times = [self.run_after, self.logical_date, self.queued_at, self.started_at, self.ended_at];
        (self.status.is_finished() || self.deleted).then(|| ExpiryCandidate {
            id: self.id.0,
            parent_id: self.pipeline_id.0,
            // A deleted run is never the latest run of its pipeline.
            ordered_at: (!self.deleted).then_some(self.ordered_at().unwrap_or(DateTime::UNIX_EPOCH)),
            last_activity_at: times.into_iter().flatten().max().unwrap_or(self.observed_at),
        })
    }

    fn with_external_ids_from(self, other: &Self) -> Self {
        Self { pipeline_external_id: other.pipeline_external_id.clone(), ..self }
    }
}

/// A task run expires with its run.
impl Projected for TaskRunObserved {
    const KIND: EntityKind = EntityKind::TaskRun;

    fn full_name(&self) -> String {
        self.external_id.clone()
    }

    fn has_derived_ids(&self) -> bool {
        let Self { connector_id, pipeline_external_id: pipeline, run_external_id: run, .. } = self;
        self.id == TaskRunId::of(*connector_id, pipeline, run, &self.task_id, self.map_index)
            && self.run_id == RunId::of(*connector_id, pipeline, run)
            && self.pipeline_id == PipelineId::of(*connector_id, pipeline)
    }

    fn expiry_candidate(&self) -> Option<ExpiryCandidate> {
        let times = [self.queued_at, self.started_at, self.ended_at];
        Some(ExpiryCandidate {
            id: self.id.0,
            parent_id: self.run_id.0,
            ordered_at: None,
            last_activity_at: times.into_iter().flatten().max().unwrap_or(self.observed_at),
        })
    }

    fn with_external_ids_from(self, other: &Self) -> Self {
        Self {
            pipeline_external_id: other.pipeline_external_id.clone(),
            run_external_id: other.run_external_id.clone(),
            ..self
        }
    }
}
