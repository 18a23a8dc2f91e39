//! The list of pipelines: all of it at every sync, compared with what is known.

use std::collections::{BTreeMap, BTreeSet};

use shared::events::{PipelineObserved, TaskNode};
use uuid::Uuid;

use super::{Sync, SyncError};
use crate::project::find;

/// The provider's ids of all pipelines that it lists, active or not.
pub type Listed = BTreeSet<String>;

impl Sync<'_> {
    /// Lists all pipelines and publishes those that changed; deactivates those that are gone.
    pub(super) async fn list_pipelines(&self) -> Result<Listed, SyncError> {
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

    async fn take_pipelines(&self, mut observed: Vec<PipelineObserved>) -> Result<(), SyncError> {
        let ids: Vec<Uuid> = observed.iter().map(|pipeline| pipeline.id.0).collect();
        let known: BTreeMap<Uuid, PipelineObserved> = find::<PipelineObserved>(self.pool, &ids)
            .await?
            .into_iter()
            .map(|pipeline| (pipeline.id.0, pipeline))
            .collect();
        let mut deactivated = 0;
        for pipeline in &mut observed {
            let before = known.get(&pipeline.id.0);
            if let Some(before) = before {
                pipeline.first_seen_at = before.first_seen_at;
                deactivated += u64::from(before.is_active && !pipeline.is_active);
            }
            pipeline.tasks = self.tasks_of(pipeline, before).await?;
        }
        self.publisher.count(|report| {
            report.pipelines_seen += observed.len() as u64;
            report.pipelines_deactivated += deactivated;
        });
        self.publisher.publish(observed).await?;
        self.note_progress(|_| {});
        Ok(())
    }

    /// The task graph: asked for when the pipeline is new, has changed otherwise, or everything is read again.
    async fn tasks_of(
        &self,
        pipeline: &PipelineObserved,
        before: Option<&PipelineObserved>,
    ) -> Result<Vec<TaskNode>, SyncError> {
        let known = before.map(|before| before.tasks.clone()).unwrap_or_default();
        let is_as_before = before.is_some_and(|before| is_same_definition(before, pipeline));
        if is_as_before && !self.job.full || !pipeline.is_active {
            return Ok(known);
        }
        self.graphs.note_read(pipeline.id);
        Ok(self.provider.tasks(&pipeline.external_id).await?)
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
