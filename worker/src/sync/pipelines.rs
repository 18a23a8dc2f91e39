//! The list of pipelines: every poll reads all of it and compares it with the read model.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;

use contract::events::PipelineObserved;
use futures::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use super::error::is_request_specific;
use super::pages::ObservedItems;
use super::{SyncError, SyncPass};
use crate::store::entities;

/// The external ids of all pipelines that the provider lists, active or not.
pub(super) type ListedPipelines = BTreeSet<String>;

impl SyncPass<'_> {
    /// Lists all pipelines, publishes those that changed, and deactivates those that are gone.
    pub(super) async fn list_pipelines(&self) -> Result<ListedPipelines, SyncError> {
        let _guard = self.pipelines_lock.lock().await;
        self.await_read_model().await?;
        let mut listed = ListedPipelines::new();
        let mut pages = pin!(self.pipeline_pages());
        while let Some(ObservedItems { items: pipelines, .. }) = pages.try_next().await? {
            listed.extend(pipelines.iter().map(|pipeline| pipeline.external_id.clone()));
            self.publish_pipelines(pipelines).await?;
        }
        self.deactivate_missing(&listed).await?;
        Ok(listed)
    }

    async fn publish_pipelines(&self, observed: Vec<PipelineObserved>) -> Result<(), SyncError> {
        let ids: Vec<Uuid> = observed.iter().map(|pipeline| pipeline.id.0).collect();
        let stored = entities::find::<PipelineObserved>(self.pool, &ids).await?;
        let mut stored: BTreeMap<Uuid, PipelineObserved> =
            stored.into_iter().map(|pipeline| (pipeline.id.0, pipeline)).collect();
        let completed = observed.into_iter().map(|pipeline| {
            let before = stored.remove(&pipeline.id.0);
            self.complete(pipeline, before)
        });
        let observed: Vec<_> =
            stream::iter(completed).buffer_unordered(self.concurrency()).try_collect().await?;
        self.publisher.count(|report| report.pipelines_seen += observed.len() as u64);
        self.publisher.publish(observed).await?;
        self.update_progress(|_| {});
        Ok(())
    }

    /// Adds what the list leaves out. The task graph is requested when the rest of the definition has
    /// changed. That of a new pipeline is read with its history, so that the list appears within seconds, and
    /// so is one that cannot be read now.
    async fn complete(
        &self,
        pipeline: PipelineObserved,
        before: Option<PipelineObserved>,
    ) -> Result<PipelineObserved, SyncError> {
        let Some(before) = before else { return Ok(pipeline) };
        let pipeline = PipelineObserved { first_seen_at: before.first_seen_at, ..pipeline };
        if before.is_active && !pipeline.is_active {
            self.publisher.count(|report| report.pipelines_deactivated += 1);
        }
        let tasks = if !pipeline.is_active || is_same_definition(&before, &pipeline) {
            before.tasks
        } else {
            match self.provider.tasks(&pipeline.external_id).await {
                Err(error) if is_request_specific(&error) => before.tasks,
                tasks => self.note(tasks?),
            }
        };
        Ok(PipelineObserved { tasks, ..pipeline })
    }
}

/// Whether two observations differ in nothing but the time of the next run.
fn is_same_definition(before: &PipelineObserved, now: &PipelineObserved) -> bool {
    let definition = |pipeline: &PipelineObserved| PipelineObserved {
        version: 0,
        observed_at: now.observed_at,
        next_run_at: None,
        tasks: Vec::new(),
        ..pipeline.clone()
    };
    definition(before) == definition(now)
}
