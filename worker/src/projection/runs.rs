//! Runs: one that is finished or deleted expires by the last of its own times.

use chrono::DateTime;
use contract::events::RunObserved;

use super::Projected;
use crate::store::entities::ExpiryCandidate;

impl Projected for RunObserved {
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

    fn with_names_from(self, other: &Self) -> Self {
        Self { pipeline_external_id: other.pipeline_external_id.clone(), ..self }
    }
}
