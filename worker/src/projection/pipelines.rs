//! Pipelines: they never expire.

use contract::events::PipelineObserved;

use super::Projected;
use crate::store::entities::ExpiryCandidate;

impl Projected for PipelineObserved {
    fn expiry_candidate(&self) -> Option<ExpiryCandidate> {
        None
    }

    fn with_names_from(self, _: &Self) -> Self {
        self
    }
}
