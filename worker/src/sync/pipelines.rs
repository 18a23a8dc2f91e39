//! The list of pipelines: every poll reads all of it and compares it with the read model.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;

use contract::events::PipelineObserved;
use futures::{StreamExt, TryStreamExt, stream};
use provider::{is_same_definition, with_time_zone_of};
use uuid::Uuid;

use super::pages::ObservedItems;
use super::{SyncError, SyncPass};
use crate::store::{entities, pipelines};

/// The external ids of all pipelines that the provider lists, active or not.
pub(super) type ListedPipelines = BTreeSet<String>;

/// A complete listing.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) names: ListedPipelines,
    /// The number of further pipelines, whose ids could not be read.
    pub(super) lost: u64,
    /// The pipelines that are active in the read model and inactive at the provider; they are not published
    /// yet.
    pub(super) stale: Vec<PipelineObserved>,
}

impl SyncPass<'_> {
    /// Lists all pipelines and publishes the changed ones, except for the stale ones.
    pub(super) async fn list_pipelines(&self) -> Result<Listing, SyncError> {
        let _guard = self.pipelines_lock.lock().await;
        self.await_read_model().await?;
        let mut listing = Listing::default();
        let mut pages = pin!(self.pipeline_pages());
        while let Some(ObservedItems { items: pipelines, lost, permit, .. }) = pages.try_next().await? {
            // Task graphs are requested while the pipelines are published, and need permits of their own.
            drop(permit);
            listing.lost += lost;
            listing.names.extend(pipelines.iter().map(|pipeline| pipeline.external_id.clone()));
            self.publisher.count(|report| report.pipelines_seen += pipelines.len() as u64);
            listing.stale.extend(self.publish_pipelines(pipelines).await?);
        }
        Ok(listing)
    }

    /// The active pipelines of the read model, while those of the provider cannot be listed.
    pub(super) async fn find_known_pipelines(&self) -> Result<ListedPipelines, SyncError> {
        let known = pipelines::find_existing(self.pool, self.job.lease.connector_id).await?;
        Ok(known.into_iter().filter(|known| known.is_active).map(|known| known.external_id).collect())
    }

    /// Publishes all pipelines except the stale ones, which are returned.
    async fn publish_pipelines(
        &self,
        observed: Vec<PipelineObserved>,
    ) -> Result<Vec<PipelineObserved>, SyncError> {
        let stored = self.find_stored(&observed).await?;
        let is_stale = |pipeline: &PipelineObserved| {
            !pipeline.is_active && stored.get(&pipeline.id.0).is_some_and(|before| before.is_active)
        };
        let (stale, observed): (Vec<_>, Vec<_>) = observed.into_iter().partition(is_stale);
        self.publish_compared(observed, stored).await?;
        Ok(stale)
    }

    /// Publishes pipelines with the fields that the list does not contain.
    pub(super) async fn publish_completed(&self, observed: Vec<PipelineObserved>) -> Result<(), SyncError> {
        let stored = self.find_stored(&observed).await?;
        self.publish_compared(observed, stored).await
    }

    async fn find_stored(
        &self,
        observed: &[PipelineObserved],
    ) -> Result<BTreeMap<Uuid, PipelineObserved>, SyncError> {
        let ids: Vec<Uuid> = observed.iter().map(|pipeline| pipeline.id.0).collect();
        let stored = entities::find::<PipelineObserved>(self.pool, &ids).await?;
        Ok(stored.into_iter().map(|pipeline| (pipeline.id.0, pipeline)).collect())
    }

    async fn publish_compared(
        &self,
        observed: Vec<PipelineObserved>,
        mut stored: BTreeMap<Uuid, PipelineObserved>,
    ) -> Result<(), SyncError> {
        let completed = observed.into_iter().map(|pipeline| {
            let before = stored.remove(&pipeline.id.0);
            self.complete(pipeline, before)
        });
        let observed: Vec<_> =
            stream::iter(completed).buffer_unordered(self.concurrency()).try_collect().await?;
        self.publisher.publish(observed).await?;
        self.update_progress(|_| {});
        Ok(())
    }

    /// Adds the fields that the list does not contain. The task graph and the time zone are requested when
    /// the other fields of the definition have changed. Those of a new pipeline are read with its history, so
    /// that the list appears within seconds, and so is a graph that cannot be read now.
    async fn complete(
        &self,
        pipeline: PipelineObserved,
        before: Option<PipelineObserved>,
    ) -> Result<PipelineObserved, SyncError> {
        let Some(before) = before else { return Ok(pipeline) };
        let pipeline = with_time_zone_of(&before, pipeline);
        let pipeline = PipelineObserved { first_seen_at: before.first_seen_at, ..pipeline };
        if before.is_active && !pipeline.is_active {
            self.publisher.count(|report| report.pipelines_deactivated += 1);
        }
        if !pipeline.is_active || is_same_definition(&before, &pipeline) {
            return Ok(PipelineObserved { tasks: before.tasks, ..pipeline });
        }
        match self.request_graph(&pipeline.external_id, &before.tasks).await? {
            Some(tasks) => self.with_time_zone(PipelineObserved { tasks, ..pipeline }).await,
            None => Ok(PipelineObserved { tasks: before.tasks, ..pipeline }),
        }
    }
}
