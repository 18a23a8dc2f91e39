//! The list of pipelines: all of it at every poll, compared with what is known.

use std::collections::{BTreeMap, BTreeSet};

use contract::events::PipelineObserved;
use futures::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use super::error::is_about_one;
use super::{Sync, SyncError};
use crate::project::find;

/// The provider's ids of all pipelines that it lists, active or not.
pub type Listed = BTreeSet<String>;

impl Sync<'_> {
    /// Lists all pipelines and publishes those that changed; deactivates those that are gone.
    pub(super) async fn list_pipelines(&self) -> Result<Listed, SyncError> {
        let _alone = self.pipelines.lock().await;
        self.await_read_model().await?;
        let mut listed = Listed::new();
        let mut page = None;
        loop {
            let seen = self.observe().await?;
            let found = self.provider.pipelines(seen, page.as_ref()).await?;
            listed.extend(found.items.iter().map(|pipeline| pipeline.external_id.clone()));
            self.take_pipelines(found.items).await?;
            page = found.next;
            if page.is_none() {
                break;
            }
        }
        self.deactivate_missing(&listed).await?;
        Ok(listed)
    }

    async fn take_pipelines(&self, observed: Vec<PipelineObserved>) -> Result<(), SyncError> {
        let ids: Vec<Uuid> = observed.iter().map(|pipeline| pipeline.id.0).collect();
        let mut known: BTreeMap<Uuid, PipelineObserved> = find::<PipelineObserved>(self.pool, &ids)
            .await?
            .into_iter()
            .map(|pipeline| (pipeline.id.0, pipeline))
            .collect();
        let completed = observed.into_iter().map(|pipeline| {
            let before = known.remove(&pipeline.id.0);
            self.complete(pipeline, before)
        });
        let observed: Vec<_> = stream::iter(completed).buffer_unordered(self.at_once()).try_collect().await?;
        self.publisher.count(|report| report.pipelines_seen += observed.len() as u64);
        self.publisher.publish(observed).await?;
        self.note_progress(|_| {});
        Ok(())
    }

    /// Adds what the list does not tell. The task graph is asked for when the definition has changed otherwise; that of
    /// a new pipeline comes with its history, so that the list shows within seconds, and so does one that cannot be
    /// read now.
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
                Err(error) if is_about_one(&error) => before.tasks,
                tasks => tasks?,
            }
        };
        Ok(PipelineObserved { tasks, ..pipeline })
    }
}

/// Whether nothing but the next run's time differs.
fn is_same_definition(before: &PipelineObserved, now: &PipelineObserved) -> bool {
    let timeless = |pipeline: &PipelineObserved| PipelineObserved {
        version: 0,
        observed_at: now.observed_at,
        next_run_at: None,
        tasks: Vec::new(),
        ..pipeline.clone()
    };
    timeless(before) == timeless(now)
}
