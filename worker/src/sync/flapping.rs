//! Pipelines that are gone and back again and again: after a few deactivations they are kept active, so that
//! they do not cause an event in every poll.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use contract::state::EntityKind;

use super::{SyncError, SyncPass};
use crate::store::histories::{self, Deactivations};

/// So many deactivations of a pipeline are published, if each is within the period after the one before.
const MAX_DEACTIVATIONS: i32 = 3;
const PERIOD: TimeDelta = TimeDelta::hours(6);
/// A flapping pipeline is deactivated once it has been gone for this long.
const MIN_ABSENCE: TimeDelta = TimeDelta::hours(1);

/// What happens to a pipeline that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Deactivate,
    /// It was deactivated too often; `is_new` if this is found for the first time.
    Keep {
        is_new: bool,
    },
}

impl Deactivations {
    /// Counts an attempt to deactivate the pipeline.
    fn attempt(&mut self, now: DateTime<Utc>) -> Verdict {
        if self.deactivated_at.is_none_or(|at| at < now - PERIOD) {
            self.deactivations = 0;
        }
        let has_been_gone = self.kept_active_since.is_some_and(|since| since <= now - MIN_ABSENCE);
        if self.deactivations < MAX_DEACTIVATIONS || has_been_gone {
            self.deactivations += 1;
            self.deactivated_at = Some(now);
            self.kept_active_since = None;
            return Verdict::Deactivate;
        }
        // One more than is published says that the pipeline was reported.
        let is_new = self.deactivations == MAX_DEACTIVATIONS;
        self.deactivations = self.deactivations.max(MAX_DEACTIVATIONS + 1);
        self.kept_active_since.get_or_insert(now);
        Verdict::Keep { is_new }
    }
}

impl SyncPass<'_> {
    /// Returns those of these pipelines that may be deactivated. The others flap; each is reported once.
    pub(super) async fn without_flapping(&self, names: &[String]) -> Result<BTreeSet<String>, SyncError> {
        let connector = self.job.lease.connector_id;
        let mut counted = histories::find_deactivations(self.pool, connector, names).await?;
        let mut may_go = BTreeSet::new();
        for pipeline in &mut counted {
            match pipeline.attempt(pipeline.now) {
                Verdict::Deactivate => drop(may_go.insert(pipeline.external_id.clone())),
                Verdict::Keep { is_new: true } => self.report_flapping(&pipeline.external_id),
                Verdict::Keep { is_new: false } => {}
            }
        }
        histories::update_deactivations(self.pool, connector, &counted).await?;
        Ok(may_go)
    }

    fn report_flapping(&self, pipeline: &str) {
        tracing::warn!(pipeline, "flapping pipeline kept active");
        let reason =
            "it is gone and back again and again; it stays active until it has been gone for an hour";
        self.publisher.report_unreadable(EntityKind::Pipeline, pipeline, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_is_deactivated_a_few_times_and_then_after_an_hour() {
        let start = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let mut pipeline = Deactivations {
            external_id: "p".to_owned(),
            deactivations: 0,
            deactivated_at: None,
            kept_active_since: None,
            now: start,
        };
        let at = |minutes| start + TimeDelta::minutes(minutes);
        for minute in 0..3 {
            assert_eq!(pipeline.attempt(at(minute)), Verdict::Deactivate);
        }
        assert_eq!(pipeline.attempt(at(3)), Verdict::Keep { is_new: true });
        assert_eq!(pipeline.attempt(at(62)), Verdict::Keep { is_new: false });
        assert_eq!(pipeline.attempt(at(63)), Verdict::Deactivate);
        // It is back, and gone again.
        assert_eq!(pipeline.attempt(at(64)), Verdict::Keep { is_new: false });
        pipeline.kept_active_since = None;
        assert_eq!(pipeline.attempt(at(400)), Verdict::Keep { is_new: false });
        assert_eq!(pipeline.attempt(at(424)), Verdict::Deactivate);
        assert_eq!(pipeline.deactivations, 1);
    }
}
