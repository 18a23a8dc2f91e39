//! Deletion of entities that the provider no longer has. A pipeline must be missing from two complete
//! listings and be unknown when requested, a run must be unknown when requested, a task run must be missing
//! twice.

use std::collections::{BTreeMap, BTreeSet};

use contract::events::{Observation, PipelineObserved, RunObserved, TaskRunObserved};
use contract::ids::{PipelineId, RunId, TaskRunId};
use futures::future::ready;
use futures::{StreamExt, TryStreamExt, stream};
use provider::ProviderError;
use uuid::Uuid;

use super::pipelines::Listing;
use super::{SyncError, SyncPass};
use crate::store::pipelines::ExistingPipeline;
use crate::store::runs::RunExternalIds;
use crate::store::{entities, histories, pipelines, runs, task_runs};

/// A deactivation of more than one in this many of a connector's active pipelines at once must be accepted.
const MASS_DELETION_RATIO: usize = 5;
/// Fewer pipelines than this are no mass deletion, even if the connector has few pipelines.
const MIN_MASS_DELETION: usize = 3;
/// The number of consecutive complete listings that a pipeline must miss before it is deleted.
const MISSED_LISTINGS_BEFORE_DELETE: i32 = 2;
/// The maximum number of unlisted pipelines that one poll requests by their ids.
const MAX_PRESENCE_REQUESTS: usize = 200;

/// A deactivation of so many of the active pipelines at once, which may have to be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MassDeletion {
    pub(super) missing: usize,
    pub(super) total: usize,
}

impl MassDeletion {
    /// What the deactivation of all missing and stale pipelines among these active ones would be.
    fn of<'p>(
        listing: &Listing,
        active: impl Iterator<Item = &'p ExistingPipeline>,
        is_missing: impl Fn(&ExistingPipeline) -> bool,
    ) -> Self {
        let (missing, present): (Vec<_>, Vec<_>) = active.partition(|pipeline| is_missing(pipeline));
        // A missing pipeline may be one whose row could not be read.
        let unlisted = missing.len().saturating_sub(usize::try_from(listing.lost).unwrap_or(usize::MAX));
        Self { missing: unlisted + listing.stale.len(), total: missing.len() + present.len() }
    }

    fn must_be_accepted(self) -> bool {
        self.missing >= MIN_MASS_DELETION && self.missing * MASS_DELETION_RATIO > self.total
    }
}

impl SyncPass<'_> {
    /// Deactivates stale pipelines, and pipelines that are missing from a complete listing and that the
    /// provider no longer has. A mass deletion that was not accepted deactivates none of them, and is
    /// returned.
    pub(super) async fn deactivate_missing(
        &self,
        listing: Listing,
        running: &BTreeSet<PipelineId>,
    ) -> Result<Option<MassDeletion>, SyncError> {
        let stored = pipelines::find_existing(self.pool, self.job.lease.connector_id).await?;
        let is_missing = |pipeline: &ExistingPipeline| {
            !listing.names.contains(&pipeline.external_id) && !running.contains(&pipeline.id)
        };
        let mass =
            MassDeletion::of(&listing, stored.iter().filter(|pipeline| pipeline.is_active), is_missing);
        let missing = stored.into_iter().filter(is_missing);
        let missing: BTreeMap<String, PipelineId> =
            missing.map(|pipeline| (pipeline.external_id, pipeline.id)).collect();
        // Counted also before the limit: when a mass deletion is accepted, the pipelines have been missed
        // before.
        let gone = self.count_missed_listing(&missing).await?;
        self.note_present(&missing, &listing.stale).await?;
        let is_stopped = mass.must_be_accepted() && !self.job.accept_mass_deletion;
        self.publish_stale(listing.stale, is_stopped).await?;
        if is_stopped {
            return Ok(Some(mass));
        }
        let checks = gone.into_iter().map(|name| {
            let pipeline = missing[&name];
            self.deactivate_if_gone(name, pipeline)
        });
        stream::iter(checks).buffer_unordered(self.concurrency()).try_for_each(|()| ready(Ok(()))).await?;
        Ok(None)
    }

    /// Pipelines that are neither missing nor stale are not kept active in spite of that.
    async fn note_present(
        &self,
        missing: &BTreeMap<String, PipelineId>,
        stale: &[PipelineObserved],
    ) -> Result<(), SyncError> {
        let stale = stale.iter().map(|pipeline| &pipeline.external_id);
        let absent: Vec<&String> = missing.keys().chain(stale).collect();
        let connector = self.job.lease.connector_id;
        Ok(histories::reset_kept_active(self.pool, connector, &absent).await?)
    }

    /// Publishes stale pipelines, as active ones if their deactivation is stopped or they flap.
    async fn publish_stale(
        &self,
        mut stale: Vec<PipelineObserved>,
        is_stopped: bool,
    ) -> Result<(), SyncError> {
        if stale.is_empty() {
            return Ok(());
        }
        let _guard = self.pipelines_lock.lock().await;
        self.await_read_model().await?;
        if is_stopped {
            stale.iter_mut().for_each(|pipeline| pipeline.is_active = true);
        } else {
            let names: Vec<_> = stale.iter().map(|pipeline| pipeline.external_id.clone()).collect();
            let may_go = self.without_flapping(&names).await?;
            stale
                .iter_mut()
                .for_each(|pipeline| pipeline.is_active = !may_go.contains(&pipeline.external_id));
        }
        self.publish_completed(stale).await
    }

    /// Counts a missed listing of these pipelines, resets the count of all others, and returns the pipelines
    /// to request now, because they have missed enough listings.
    async fn count_missed_listing(
        &self,
        missing: &BTreeMap<String, PipelineId>,
    ) -> Result<Vec<String>, SyncError> {
        let connector = self.job.lease.connector_id;
        let names: Vec<&String> = missing.keys().collect();
        histories::reset_missed_listings(self.pool, connector, &names).await?;
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let limit = MISSED_LISTINGS_BEFORE_DELETE;
        let mut gone = histories::count_missed_listing(self.pool, connector, &names, limit).await?;
        if !self.job.accept_mass_deletion {
            let in_backoff = histories::find_in_backoff(self.pool, connector).await?;
            gone.retain(|name| !in_backoff.contains_key(name));
            gone.truncate(MAX_PRESENCE_REQUESTS);
        }
        Ok(gone)
    }

    /// Deactivates a pipeline that the provider does not have. If that cannot be determined, for example
    /// because the connector's user may no longer read it, the pipeline stays, unless a mass deletion is
    /// accepted.
    async fn deactivate_if_gone(&self, name: String, pipeline: PipelineId) -> Result<(), SyncError> {
        let observation = self.observe().await?;
        let request = async { Ok(self.provider.has_pipeline(&name).await?) };
        match self.request_one(request).await? {
            Ok(true) => Ok(()),
            Ok(false) if self.without_flapping(std::slice::from_ref(&name)).await?.is_empty() => Ok(()),
            Ok(false) => self.deactivate(pipeline, observation).await,
            Err(ProviderError::Forbidden { .. }) if self.job.accept_mass_deletion => {
                self.deactivate(pipeline, observation).await
            }
            Err(error) => self.keep_unlisted(&name, &error).await,
        }
    }

    async fn keep_unlisted(&self, name: &str, error: &ProviderError) -> Result<(), SyncError> {
        let connector = self.job.lease.connector_id;
        if histories::count_failure(self.pool, connector, name).await? == 1 {
            tracing::warn!(pipeline = name, %error, "unlisted pipeline kept");
        }
        Ok(())
    }

    async fn deactivate(&self, pipeline: PipelineId, observation: Observation) -> Result<(), SyncError> {
        let stored = entities::find::<PipelineObserved>(self.pool, &[pipeline.0]).await?;
        let deactivated = stored.into_iter().map(|pipeline| PipelineObserved {
            version: observation.version,
            observed_at: observation.at,
            deleted: true,
            is_active: false,
            ..pipeline
        });
        let deactivated: Vec<_> = deactivated.collect();
        self.publisher.count(|report| report.pipelines_deactivated += deactivated.len() as u64);
        self.publisher.publish(deactivated).await?;
        // If the pipeline comes back, it may have lost runs.
        Ok(histories::mark_pipeline_unread(self.pool, pipeline).await?)
    }

    /// Deletes a run that the provider does not have, and its task runs.
    pub(super) async fn delete_run(&self, run: RunId, observation: Observation) -> Result<(), SyncError> {
        let of_run = task_runs::find_ids_of_run(self.pool, run).await?;
        self.delete_task_runs(&of_run, observation).await?;
        let stored = entities::find::<RunObserved>(self.pool, &[run.0]).await?;
        let deleted = stored.into_iter().map(|run| RunObserved {
            version: observation.version,
            observed_at: observation.at,
            deleted: true,
            ..run
        });
        self.publisher.publish(deleted.collect()).await
    }

    async fn delete_task_runs(&self, ids: &[Uuid], observation: Observation) -> Result<(), SyncError> {
        for chunk in ids.chunks(500) {
            let stored = entities::find::<TaskRunObserved>(self.pool, chunk).await?;
            let deleted = stored.into_iter().map(|task_run| TaskRunObserved {
                version: observation.version,
                observed_at: observation.at,
                deleted: true,
                ..task_run
            });
            self.publisher.publish(deleted.collect()).await?;
        }
        Ok(())
    }

    /// Requests the runs and task runs again that are missing from a history, and deletes the ones that the
    /// provider no longer has.
    pub(super) async fn delete_missing(
        &self,
        missing_runs: BTreeSet<RunId>,
        missing_task_runs: BTreeSet<TaskRunId>,
    ) -> Result<(), SyncError> {
        let missing_runs = Vec::from_iter(missing_runs);
        self.reread(runs::find_external_ids(self.pool, &missing_runs).await?).await?;
        let suspects: Vec<Uuid> = missing_task_runs.into_iter().map(Uuid::from).collect();
        let suspect_runs = task_runs::find_runs_of(self.pool, &suspects, &missing_runs).await?;
        for (run, external_ids) in runs::find_external_ids(self.pool, &suspect_runs).await? {
            self.delete_missing_task_runs(run, external_ids, &suspects).await?;
        }
        Ok(())
    }

    async fn delete_missing_task_runs(
        &self,
        run: RunId,
        external_ids: RunExternalIds,
        suspects: &[Uuid],
    ) -> Result<(), SyncError> {
        let observation = self.observe().await?;
        let read = self.publish_or_report_task_runs(external_ids).await?;
        let Some(read) = read.filter(|read| read.lost == 0) else { return Ok(()) };
        let read: Vec<Uuid> = read.ids.into_iter().map(Uuid::from).collect();
        let gone = task_runs::find_missing(self.pool, run, suspects, &read).await?;
        self.delete_task_runs(&gone, observation).await
    }
}
