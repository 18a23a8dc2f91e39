//! Task runs: they expire with their run.

use contract::events::TaskRunObserved;

use super::Projected;
use crate::store::entities::ExpiryCandidate;

impl Projected for TaskRunObserved {
    fn expiry_candidate(&self) -> Option<ExpiryCandidate> {
        let times = [self.queued_at, self.started_at, self.ended_at];
        Some(ExpiryCandidate {
            id: self.id.0,
            parent_id: self.run_id.0,
            ordered_at: None,
            last_activity_at: times.into_iter().flatten().max().unwrap_or(self.observed_at),
        })
    }

    fn with_names_from(self, other: &Self) -> Self {
        Self {
            pipeline_external_id: other.pipeline_external_id.clone(),
            run_external_id: other.run_external_id.clone(),
            ..self
        }
    }
}
